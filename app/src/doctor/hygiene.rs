//! What works on a desk and is not meant for production: settings, unencrypted ways, secrets that others can read, folders that nodes do not share.

use std::net::IpAddr;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

use ports::Probe;
use url::Url;

use super::{Examination, Verdict, count, database, innermost};
use crate::compose::look::{self, Tables};
use crate::config::{Config, Danger, Origin, PublicUrl, is_loopback};

/// Bits of a mode: what the group and what all others may.
const GROUP: u32 = 0o070;
const OTHERS: u32 = 0o007;
const GROUP_WRITES: u32 = 0o020;

/// Judges all of it, a finding for each.
pub(super) async fn judge(e: &mut Examination<'_>, config: &Config, tables: Option<&Tables>) {
    let dangers = config.dangers();
    if dangers.is_empty() {
        e.judge("settings", async { Verdict::ok("none in force is dangerous") })
            .await;
    }
    for danger in dangers {
        e.judge(danger.key, async { Verdict::warn(&*danger.sentence, undo(&danger)) })
            .await;
    }
    e.judge("reach", async { reach(config) }).await;
    if config.database.url.is_postgres() {
        e.judge("database TLS", async { database_tls(config.database.url.expose()) })
            .await;
    }
    e.judge("secrets", secret_files(config)).await;
    e.judge("data folder", data_folder(config)).await;
    if let (true, Some(tables)) = (config.database.url.is_postgres(), tables) {
        e.judge("shared folders", shared_folders(config, &*tables.probe)).await;
    }
}

fn undo(danger: &Danger) -> String {
    match danger.key {
        "auth.bcrypt_cost" => "set auth.bcrypt_cost (PLINTH_AUTH_BCRYPT_COST) to 12, or leave it unset".to_owned(),
        "limits.enabled" => "set limits.enabled (PLINTH_LIMITS_ENABLED) to true, or leave it unset".to_owned(),
        "database.synchronous" => "set database.synchronous to full, or leave it unset".to_owned(),
        "public_url" => {
            "put a proxy that speaks TLS in front, and set public_url (PLINTH_PUBLIC_URL) to its https:// address"
                .to_owned()
        }
        key => format!("see {key} in docs/configuration.md"),
    }
}

/// Who reaches the listeners, and by what way.
pub(super) fn reach(config: &Config) -> Verdict {
    // First: of all of these it is the one that gives something away.
    if !is_loopback(config.ops.bind) {
        return Verdict::warn(
            format!(
                "the operations listener on {} is open to other machines, unencrypted; /metrics and /health ask for no token",
                config.ops.bind
            ),
            "bind it to loopback or to a private network (ops.bind), and keep others out by a firewall",
        );
    }
    let encrypted = config.public_url.as_ref().is_some_and(PublicUrl::is_https);
    if config.public_url.as_ref().is_none_or(PublicUrl::is_loopback) {
        return Verdict::warn(
            "clients reach the API from this machine only, and every link in a mail leads here",
            "for production set public_url (PLINTH_PUBLIC_URL) to the https:// address of the proxy in front",
        );
    }
    if encrypted && config.http.trusted_proxies.is_empty() {
        return Verdict::warn(
            "every client looks like the proxy: limits on guessing count all of them as one",
            "set http.trusted_proxies (PLINTH_HTTP_TRUSTED_PROXIES) to the proxy's address",
        );
    }
    if encrypted {
        Verdict::ok("clients come by https through a trusted proxy; the operations listener stays here")
    } else {
        Verdict::ok("the operations listener stays on this machine")
    }
}

/// Whether the way to the server is encrypted. On this machine it need not be.
pub(super) fn database_tls(url: &str) -> Verdict {
    let Ok(url) = Url::parse(url) else {
        return Verdict::skipped("its address cannot be read");
    };
    let parameter = |wanted: &str| {
        let pair = url.query_pairs().find(|(name, _)| name == wanted);
        pair.map(|(_, value)| value.into_owned())
    };
    let host = parameter("host")
        .or_else(|| url.host_str().map(str::to_owned))
        .unwrap_or_default();
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let local = host.starts_with('/') || host == "localhost" || bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
    let mode = parameter("sslmode").or_else(|| parameter("ssl-mode"));
    match mode.as_deref() {
        Some("verify-full" | "verify-ca") => Verdict::ok("encrypted, and the server must prove who it is"),
        _ if local => Verdict::ok("the server is on this machine"),
        Some("require") => Verdict::ok("encrypted; sslmode=verify-full would also prove who the server is"),
        _ => Verdict::warn(
            format!("what goes to {host} is unencrypted when the server does not offer TLS"),
            "add sslmode=verify-full (or require) to database.url",
        ),
    }
}

/// A file that holds a secret, and who may read it.
pub(super) struct Kept {
    pub(super) path: PathBuf,
    pub(super) mode: u32,
}

async fn secret_files(config: &Config) -> Verdict {
    let mut paths: Vec<PathBuf> = config
        .secrets
        .iter()
        // An address of a file holds no password.
        .filter(|secret| secret.key != "database.url" || config.database.url.is_postgres())
        .filter_map(|secret| secret.file.clone())
        .collect();
    if config.master_key.is_none() {
        paths.push(look::master_key_file(config));
    }
    paths.sort();
    paths.dedup();
    let mut kept = Vec::new();
    for path in paths {
        // One that is missing is told by the check of what it holds.
        if let Ok(metadata) = tokio::fs::metadata(&path).await {
            kept.push(Kept {
                path,
                mode: metadata.mode(),
            });
        }
    }
    let master = config.secrets.iter().find(|secret| secret.key == "master_key");
    judge_secrets(
        &kept,
        master
            .map(|secret| &secret.origin)
            .filter(|_| master.is_some_and(|m| m.file.is_none())),
    )
}

/// `in_environment`: the variable that holds the master key itself.
pub(super) fn judge_secrets(kept: &[Kept], in_environment: Option<&Origin>) -> Verdict {
    let those = |judge: fn(u32) -> bool| {
        let those = kept.iter().filter(|kept| judge(kept.mode));
        those.map(|kept| kept.path.display().to_string()).collect::<Vec<_>>()
    };
    let open = those(|mode| mode & (OTHERS | GROUP_WRITES) != 0);
    if !open.is_empty() {
        let modes: Vec<String> = kept
            .iter()
            .filter(|kept| open.contains(&kept.path.display().to_string()))
            .map(|kept| format!("{} ({:04o})", kept.path.display(), kept.mode & 0o7777))
            .collect();
        return Verdict::fail(
            format!("other users of this machine can read or change {}", modes.join(", ")),
            format!(
                "chmod 600 {} (in Kubernetes: defaultMode 0400), and replace the secret if others were here",
                open.join(" ")
            ),
        );
    }
    if let Some(origin) = in_environment {
        return Verdict::warn(
            format!("the master key stands in {origin}, which processes inherit and crash reports print"),
            "keep it in a file of mode 0600 and set PLINTH_MASTER_KEY_FILE instead",
        );
    }
    let group = those(|mode| mode & GROUP != 0);
    if !group.is_empty() {
        return Verdict::warn(
            format!("the group can read {}", group.join(", ")),
            format!("chmod 600 {}, unless the group is this server's own", group.join(" ")),
        );
    }
    match kept.len() as u64 {
        0 => Verdict::skipped("no file holds one"),
        files => Verdict::ok(format!("{} readable by the owner only", count(files, "file"))),
    }
}

async fn data_folder(config: &Config) -> Verdict {
    let path = &config.data_dir;
    match tokio::fs::metadata(path).await {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Verdict::skipped(format!("{} is not there yet", path.display()))
        }
        Err(error) => Verdict::fail(
            format!("{}: {error}", path.display()),
            "make it a folder of this user, or set data_dir (PLINTH_DATA_DIR) to another",
        ),
        Ok(metadata) if !metadata.is_dir() => Verdict::fail(
            format!("{} is no folder", path.display()),
            "make it a folder of this user, or set data_dir (PLINTH_DATA_DIR) to another",
        ),
        Ok(metadata) if metadata.mode() & OTHERS != 0 => Verdict::warn(
            format!(
                "other users of this machine may enter {} ({:04o})",
                path.display(),
                metadata.mode() & 0o7777
            ),
            format!("chmod 700 {}", path.display()),
        ),
        Ok(_) => Verdict::ok(format!("{} is closed to others", path.display())),
    }
}

/// Folders of one machine, when several machines work on the database.
pub(super) async fn shared_folders(config: &Config, probe: &dyn Probe) -> Verdict {
    let mut folders: Vec<String> = config
        .files
        .backends
        .values()
        .filter_map(look::blob_folder)
        .map(|path| path.display().to_string())
        .collect();
    folders.extend(look::mail_folder(config).map(|path| path.display().to_string()));
    if folders.is_empty() {
        return Verdict::ok("files and mail are kept elsewhere");
    }
    let folders = folders.join(" and ");
    match probe.survey().await {
        Err(error) => database::refused(&innermost(&error), error.full),
        Ok(survey) => match survey.machines {
            None => Verdict::skipped("the database does not tell who is connected"),
            Some(0 | 1) => Verdict::ok(format!(
                "only this machine is connected; with a second one {folders} must be shared"
            )),
            Some(machines) => Verdict::warn(
                format!("{machines} machines are connected, and files and mail go to folders: {folders}"),
                "mount the same shared folders there on every node, or a file of one node is not found by the others",
            ),
        },
    }
}
