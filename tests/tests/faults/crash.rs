//! `kill -9` in the middle of a load: what was acknowledged is there, and nothing half-written stays.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use plinth_tests::site::{Backing, Person, Site};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::load::{ALONE, Acknowledged, assert_gapless, assert_handled_once, eventually, history, settled, sha256};
use crate::rows::Rows;

plinth_tests::on_both!(nothing_acknowledged_is_lost);

const ROUNDS: usize = 3;
const CLIENTS: usize = 8;
/// How many writes are acknowledged before the process is killed.
const BEFORE: usize = 150;

async fn nothing_acknowledged_is_lost(backing: Backing) {
    let _alone = ALONE.lock().await;
    let mut site = Site::start(backing).await;
    let people = [site.person("ada").await, site.person("eve").await];
    let mut acknowledged = Acknowledged::default();
    for round in 0..ROUNDS {
        acknowledged.add(load_until_killed(&mut site, &people, round).await);
        site.server.restart().await;
        assert_all_there(&site, &people, &acknowledged).await;
    }
    assert!(acknowledged.writes >= ROUNDS * BEFORE && !acknowledged.files.is_empty());

    // It goes on as before.
    let client = people[0].client.at(site.server.http());
    let mut after = Acknowledged::default();
    for number in 0..20 {
        after
            .write(&client, &people[0], number)
            .await
            .expect("the server answers");
    }
    acknowledged.add(after);
    assert_all_there(&site, &people, &acknowledged).await;
    let rows = Rows::of(&site).await;
    settled(&rows).await;
    assert_gapless(&rows).await;
    assert_handled_once(&rows).await;
    drop(rows);
    assert_swept(&mut site).await;
}

/// Writes from many clients until enough is acknowledged, then kills the server under them.
async fn load_until_killed(site: &mut Site, people: &[Person], round: usize) -> Acknowledged {
    let (done, mut watched) = watch::channel(0_usize);
    let mut clients = JoinSet::new();
    for client in 0..CLIENTS {
        let (person, at, done) = (
            people[client % people.len()].clone(),
            site.server.http().to_owned(),
            done.clone(),
        );
        clients.spawn(async move {
            let (mut acknowledged, at) = (Acknowledged::default(), person.client.at(at));
            for number in (client..).step_by(CLIENTS) {
                let number = number / CLIENTS * 7 + client + round * 10_000;
                if acknowledged.write(&at, &person, number).await.is_err() {
                    break;
                }
                done.send_modify(|writes| *writes += 1);
            }
            acknowledged
        });
    }
    let enough = tokio::time::timeout(Duration::from_secs(60), watched.wait_for(|writes| *writes >= BEFORE));
    let _ = enough.await.expect("the load goes on").expect("the clients live");
    site.server.kill9();
    let mut all = Acknowledged::default();
    while let Some(acknowledged) = clients.join_next().await {
        all.add(acknowledged.expect("no answer was a refusal"));
    }
    all
}

async fn assert_all_there(site: &Site, people: &[Person], acknowledged: &Acknowledged) {
    let rows = Rows::of(site).await;
    eventually("all events have their position", async || {
        rows.number("SELECT count(*) FROM event_pending").await == 0
    })
    .await;
    assert_gapless(&rows).await;
    let (mut events, mut files) = (BTreeSet::new(), 0);
    for person in people {
        let client = person.client.at(site.server.http());
        events.extend(history(&client).await);
        for (id, sent) in &acknowledged.files {
            let content = client.get(&format!("/v1/files/{id}/content")).await;
            if content.status == 200 {
                assert_eq!(sha256(&content.body), *sent, "{id}");
                files += 1;
            }
        }
    }
    let lost: Vec<&String> = acknowledged.events.iter().filter(|id| !events.contains(*id)).collect();
    assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
    assert_eq!(files, acknowledged.files.len(), "files that were acknowledged are lost");
}

/// Makes what the crashes left as old as it must be to be swept, and looks at what the next start leaves.
async fn assert_swept(site: &mut Site) {
    site.server.kill9();
    let rows = Rows::of(site).await;
    rows.change("UPDATE file_reservations SET expires_at = 1").await;
    let blobs = site.server.data_dir().join("blobs");
    for file in files_below(&blobs) {
        let long_ago = std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        let file = std::fs::File::options().write(true).open(file).expect("a file of ours");
        file.set_modified(long_ago).expect("its time can be set");
    }
    site.server.restart().await;
    eventually("what was left is swept", async || {
        rows.number("SELECT count(*) FROM file_reservations").await == 0
    })
    .await;

    let below = |path: &PathBuf| path.strip_prefix(&blobs).expect("below").to_string_lossy().into_owned();
    let on_disk = || files_below(&blobs).iter().map(below).collect::<BTreeSet<String>>();
    let keys: BTreeSet<String> = rows.texts("SELECT blob_key FROM files").await.into_iter().collect();
    eventually("each blob has its row", async || on_disk().len() == keys.len()).await;
    assert_eq!(on_disk(), keys);
    let stored = "SELECT count(*) FROM storage_usage s WHERE s.reserved <> 0 OR s.bytes <> \
                  (SELECT coalesce(sum(f.size), 0) FROM files f WHERE f.user_id = s.user_id)";
    assert_eq!(rows.number(stored).await, 0, "room is counted that nothing takes");
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let (mut found, mut folders) = (Vec::new(), vec![folder.to_path_buf()]);
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(next).into_iter().flatten().flatten() {
            if entry.path().is_dir() {
                folders.push(entry.path())
            } else {
                found.push(entry.path())
            }
        }
    }
    found
}
