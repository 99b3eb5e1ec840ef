//! Reading files back: by their owner, by a link, and for a repeated upload.

use super::*;

#[tokio::test]
async fn a_whole_read_is_checked_and_a_part_is_cut() {
    let mut bench = Bench::new();
    bench.store.expect_get().returning(|_, range| match range {
        None => Ok(body(&[b"sto", b"rEd"])),
        Some(ByteRange { start: 1, end: 2 }) => Ok(body(&[b"to"])),
        Some(_) => Err(GetBlobError::NotFound),
    });
    let mut rows = [None, Some(file(b"stored"))].into_iter();
    bench
        .repository
        .expect_find_any()
        .times(2)
        .returning(move |_| Ok(rows.next().unwrap()));
    let files = bench.files();
    let stored = file(b"stored");
    for range in [None, Some(ByteRange { start: 0, end: 5 })] {
        let read: Vec<_> = files.open(&stored, range).await.unwrap().collect().await;
        assert!(
            matches!(read.last(), Some(Err(StreamError::Corrupt))),
            "a range of everything is the whole"
        );
    }
    let part: Vec<_> = files
        .open(&stored, Some(ByteRange { start: 1, end: 2 }))
        .await
        .unwrap()
        .collect()
        .await;
    assert!(matches!(part.as_slice(), [Ok(bytes)] if bytes == "to"));
    let lost = Some(ByteRange { start: 2, end: 3 });
    assert!(matches!(files.open(&stored, lost).await, Err(OpenFileError::NotFound)));
    assert!(matches!(files.open(&stored, lost).await, Err(OpenFileError::Backend(error)) if !error.temporary));
}

#[tokio::test]
async fn a_link_says_what_was_signed_and_works_until_it_expires() {
    let mut bench = Bench::new();
    bench
        .repository
        .expect_find()
        .returning(|_, id| Ok((id == file(b"1").id).then(|| file(b"1"))));
    bench
        .repository
        .expect_find_any()
        .times(1)
        .returning(|_| Ok(Some(file(b"1"))));
    let text = |grant: &LinkGrant| {
        format!(
            "{}.{}.{}.{}",
            grant.method,
            grant.file,
            grant.expires_at.seconds(),
            grant.disposition
        )
    };
    bench.links.expect_sign().returning(text);
    bench
        .links
        .expect_verify()
        .returning(move |grant, signature| text(grant) == signature);
    let clock = Arc::clone(&bench.clock);
    let files = bench.files();
    let id = file(b"1").id;
    let link = files
        .link(user(), id, Duration::from_secs(60), Disposition::Inline)
        .await
        .unwrap();
    let expires = START + 60;
    let signature = format!("GET.{id}.{expires}.inline");
    assert_eq!(
        link.url.as_str(),
        format!(
            "https://files.example.com/base/v1/links/{id}?v=1&expires={expires}&disposition=inline&signature={signature}"
        )
    );
    let good = PresentedLink {
        id,
        version: "1",
        expires,
        disposition: "inline",
        signature: &signature,
    };
    assert_eq!(files.follow(good).await.unwrap(), (file(b"1"), Disposition::Inline));
    let other = PresentedLink {
        id: FileId::new(uuid::Uuid::nil()),
        ..good
    };
    for bad in [
        other,
        PresentedLink { version: "2", ..good },
        PresentedLink {
            expires: expires + 1,
            ..good
        },
        PresentedLink {
            disposition: "attachment",
            ..good
        },
        PresentedLink { signature: "", ..good },
    ] {
        assert!(
            matches!(files.follow(bad).await, Err(FollowLinkError::Invalid)),
            "{bad:?}"
        );
    }
    clock.store(expires, Ordering::SeqCst);
    assert!(matches!(files.follow(good).await, Err(FollowLinkError::Invalid)));
    for life in [0, 604_801] {
        let refused = files
            .link(user(), id, Duration::from_secs(life), Disposition::Inline)
            .await;
        assert!(matches!(refused, Err(LinkFileError::Life)));
    }
    let unknown = files
        .link(user(), other.id, Duration::from_secs(1), Disposition::Inline)
        .await;
    assert!(matches!(unknown, Err(LinkFileError::NotFound)));
}

#[tokio::test]
async fn a_repeated_body_is_compared_and_read_no_further_than_needed() {
    let files = Bench::new().files();
    let stored = file(b"stored");
    assert!(
        files
            .is_content(&stored, Length::Exact(6), body(&[b"sto", b"red"]))
            .await
            .unwrap()
    );
    assert!(
        !files
            .is_content(&stored, Length::Unknown, body(&[b"sto", b"rEd"]))
            .await
            .unwrap()
    );
    assert!(
        !files
            .is_content(&stored, Length::Framed(200), body(&[b"store"]))
            .await
            .unwrap()
    );
    assert!(
        !files
            .is_content(&stored, Length::Exact(7), untouchable())
            .await
            .unwrap()
    );
    let endless = stream::repeat_with(|| Ok(Bytes::from_static(b"sto")));
    assert!(
        !files
            .is_content(&stored, Length::Unknown, Box::pin(endless))
            .await
            .unwrap()
    );
    let broken = stream::iter([Err(StreamError::Interrupted)]);
    assert!(
        files
            .is_content(&stored, Length::Unknown, Box::pin(broken))
            .await
            .is_err()
    );
}
