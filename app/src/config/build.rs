//! From resolved values to the typed configuration, and the rules between keys.

mod kafka;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

use super::address::{DatabaseUrl, PublicUrl};
use super::fault::{Fault, Faults, Origin};
use super::kind::Value;
use super::resolve::Resolved;
use super::secret::Secret;
use super::source::Environment;
use super::{
    AdminConfig, AuthConfig, BackendConfig, Config, DatabaseConfig, EventsConfig, FilesConfig, HttpConfig, Loaded,
    LogConfig, LogFormat, MailConfig, OpsConfig, Registration, SecretPlace, ShownSetting, Synchronous, TierConfig,
    WorkersConfig, is_loopback,
};

/// Builds the configuration; the faults are those of the sources and those between keys.
pub(super) fn build(mut resolved: Resolved, environment: &Environment) -> Result<Loaded, Faults> {
    fill(&mut resolved, environment);
    let config = match read(&resolved) {
        Ok(config) => config,
        Err(Mismatch(path)) => {
            resolved
                .faults
                .push(Fault::missing(path, "cannot be read as what the program expects of it"));
            return Err(Faults(resolved.faults));
        }
    };
    check(&mut resolved, &config);
    if resolved.faults.is_empty() {
        Ok(Loaded {
            config,
            settings: shown(&resolved),
        })
    } else {
        Err(Faults(resolved.faults))
    }
}

/// Gives keys without a fixed default the value that follows from others.
fn fill(resolved: &mut Resolved, environment: &Environment) {
    let data_dir = match resolved.entries.get("data_dir").map(|entry| &entry.value) {
        Some(Value::Path(path)) => path.clone(),
        _ => environment.working_dir().to_owned(),
    };
    let cores = u64::try_from(environment.cores().clamp(1, 256)).unwrap_or(1);
    for (path, entry) in &mut resolved.entries {
        if entry.value != Value::Unset {
            continue;
        }
        entry.value = match path.as_str() {
            "database.url" => Value::Database(DatabaseUrl::sqlite(&data_dir.join("plinth.db"))),
            "mail.outbox_dir" => Value::Path(data_dir.join("outbox")),
            "auth.hash_threads" => Value::Integer(cores),
            "files.backends.local.root" => Value::Path(data_dir.join("blobs")),
            _ => match path
                .strip_prefix("files.backends.")
                .and_then(|rest| rest.strip_suffix(".root"))
            {
                Some(name) => Value::Path(data_dir.join(format!("blobs-{name}"))),
                None => continue,
            },
        };
    }
}

fn shown(resolved: &Resolved) -> Vec<ShownSetting> {
    let lines = resolved.entries.iter().map(|(path, entry)| ShownSetting {
        key: path.clone(),
        value: (entry.value != Value::Unset).then(|| entry.value.to_string()),
        origin: entry.origin.clone(),
    });
    lines.collect()
}

/// A key that the table declares as another type than the configuration expects: a fault of the program, which the
/// test of the defaults would show.
struct Mismatch(String);

/// A type that a key's value turns into.
trait FromValue: Sized {
    fn from_value(value: &Value) -> Option<Self>;
}

macro_rules! from_value {
    ($($type:ty: $pattern:pat => $result:expr;)*) => {$(
        impl FromValue for $type {
            fn from_value(value: &Value) -> Option<Self> {
                match value {
                    $pattern => $result,
                    _ => None,
                }
            }
        }
    )*};
}

from_value! {
    String: Value::Text(text) => Some(text.clone());
    Secret<String>: Value::Secret(secret) => Some(secret.clone());
    Secret<[u8; 32]>: Value::MasterKey(key) => Some(key.clone());
    PathBuf: Value::Path(path) => Some(path.clone());
    bool: Value::Bool(flag) => Some(*flag);
    u32: Value::Integer(number) => u32::try_from(*number).ok();
    u64: Value::Size(bytes) => Some(*bytes);
    usize: Value::Integer(number) | Value::Size(number) => usize::try_from(*number).ok();
    Duration: Value::Duration(duration) => Some(*duration);
    SocketAddr: Value::Listen(address) => Some(*address);
    PublicUrl: Value::PublicUrl(url) => Some(url.clone());
    DatabaseUrl: Value::Database(url) => Some(url.clone());
}

/// An empty list and an unset one are the same.
impl FromValue for Vec<String> {
    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::List(entries) => Some(entries.clone()),
            Value::Unset => Some(Self::new()),
            _ => None,
        }
    }
}

impl FromValue for Vec<IpNet> {
    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Networks(entries) => Some(entries.clone()),
            Value::Unset => Some(Self::new()),
            _ => None,
        }
    }
}

impl<T: FromValue> FromValue for Option<T> {
    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Unset => Some(None),
            value => T::from_value(value).map(Some),
        }
    }
}

impl Resolved {
    fn get<T: FromValue>(&self, path: &str) -> Result<T, Mismatch> {
        let entry = self.entries.get(path);
        entry
            .and_then(|entry| T::from_value(&entry.value))
            .ok_or_else(|| Mismatch(path.to_owned()))
    }

    fn choose<T>(&self, path: &str, choose: impl Fn(&str) -> Option<T>) -> Result<T, Mismatch> {
        choose(&self.get::<String>(path)?).ok_or_else(|| Mismatch(path.to_owned()))
    }

    /// The operator's names under a prefix, such as those of the tiers.
    fn names(&self, prefix: &str) -> BTreeSet<String> {
        let names = self
            .entries
            .keys()
            .filter_map(|path| path.strip_prefix(prefix)?.split('.').next());
        names.map(str::to_owned).collect()
    }
}

fn read(values: &Resolved) -> Result<Config, Mismatch> {
    Ok(Config {
        file: values.file.clone(),
        data_dir: values.get("data_dir")?,
        master_key: values.get("master_key")?,
        public_url: values.get("public_url")?,
        database: read_database(values)?,
        http: read_http(values)?,
        ops: OpsConfig {
            bind: values.get("ops.bind")?,
            token: values.get("ops.token")?,
        },
        auth: read_auth(values)?,
        admin: read_admin(values)?,
        limits_enabled: values.get("limits.enabled")?,
        tiers: read_tiers(values)?,
        files: read_files(values)?,
        events: EventsConfig {
            client_prefix: values.get("events.client_prefix")?,
            streams_per_user: values.get("events.streams_per_user")?,
            stream_heartbeat: values.get("events.stream_heartbeat")?,
            checkpoint_interval: values.get("events.checkpoint_interval")?,
            retention: values.get("events.retention")?,
            payload_retention: values.get("events.payload_retention")?,
        },
        kafka: kafka::read(values)?,
        mail: read_mail(values)?,
        log: LogConfig {
            level: values.get("log.level")?,
            format: values.choose("log.format", |word| match word {
                "text" => Some(LogFormat::Text),
                "json" => Some(LogFormat::Json),
                _ => None,
            })?,
        },
        workers: WorkersConfig {
            enabled: values.get("workers.enabled")?,
            mail_concurrency: values.get("workers.mail_concurrency")?,
            mail_lease: values.get("workers.mail_lease")?,
        },
        secrets: secrets(values),
    })
}

fn secrets(values: &Resolved) -> Vec<SecretPlace> {
    let set = values.entries.iter().filter(|(path, entry)| {
        let secret = super::key::find_path(path).is_some_and(|found| found.key.kind.is_secret());
        secret && entry.origin != Origin::Default
    });
    set.map(|(path, entry)| SecretPlace {
        key: path.clone(),
        origin: entry.origin.clone(),
        file: entry.secret_file.clone(),
    })
    .collect()
}

fn read_database(values: &Resolved) -> Result<DatabaseConfig, Mismatch> {
    Ok(DatabaseConfig {
        url: values.get("database.url")?,
        max_connections: values.get("database.max_connections")?,
        acquire_timeout: values.get("database.acquire_timeout")?,
        idle_timeout: values.get("database.idle_timeout")?,
        max_lifetime: values.get("database.max_lifetime")?,
        busy_timeout: values.get("database.busy_timeout")?,
        synchronous: values.choose("database.synchronous", |word| match word {
            "full" => Some(Synchronous::Full),
            "normal" => Some(Synchronous::Normal),
            _ => None,
        })?,
        migrate: values.get("database.migrate")?,
    })
}

fn read_http(values: &Resolved) -> Result<HttpConfig, Mismatch> {
    Ok(HttpConfig {
        bind: values.get("http.bind")?,
        max_connections: values.get("http.max_connections")?,
        max_header_bytes: values.get("http.max_header_bytes")?,
        max_json_bytes: values.get("http.max_json_bytes")?,
        header_timeout: values.get("http.header_timeout")?,
        body_stall_timeout: values.get("http.body_stall_timeout")?,
        idle_timeout: values.get("http.idle_timeout")?,
        drain_grace: values.get("http.drain_grace")?,
        shutdown_timeout: values.get("http.shutdown_timeout")?,
        trusted_proxies: values.get("http.trusted_proxies")?,
        cors_origins: values.get("http.cors_origins")?,
    })
}

fn read_auth(values: &Resolved) -> Result<AuthConfig, Mismatch> {
    Ok(AuthConfig {
        registration: values.choose("auth.registration", |word| match word {
            "open" => Some(Registration::Open),
            "closed" => Some(Registration::Closed),
            _ => None,
        })?,
        password_min_length: values.get("auth.password_min_length")?,
        bcrypt_cost: values.get("auth.bcrypt_cost")?,
        hash_threads: values.get("auth.hash_threads")?,
        hash_queue: values.get("auth.hash_queue")?,
        access_token_ttl: values.get("auth.access_token_ttl")?,
        session_idle_ttl: values.get("auth.session_idle_ttl")?,
        session_ttl: values.get("auth.session_ttl")?,
        refresh_grace: values.get("auth.refresh_grace")?,
        revocation_max_age: values.get("auth.revocation_max_age")?,
        issuer: values.get("auth.issuer")?,
        audience: values.get("auth.audience")?,
    })
}

fn read_admin(values: &Resolved) -> Result<Option<AdminConfig>, Mismatch> {
    let email: Option<String> = values.get("admin.email")?;
    let password: Option<Secret<String>> = values.get("admin.password")?;
    Ok(email
        .zip(password)
        .map(|(email, password)| AdminConfig { email, password }))
}

fn read_tiers(values: &Resolved) -> Result<BTreeMap<String, TierConfig>, Mismatch> {
    let tier = |name: String| {
        let tier = TierConfig {
            features: values.get(&format!("tiers.{name}.features"))?,
            max_file_bytes: values.get(&format!("tiers.{name}.max_file_bytes"))?,
            storage_bytes: values.get(&format!("tiers.{name}.storage_bytes"))?,
            requests_per_minute: values.get(&format!("tiers.{name}.requests_per_minute"))?,
            events_per_minute: values.get(&format!("tiers.{name}.events_per_minute"))?,
        };
        Ok((name, tier))
    };
    values.names("tiers.").into_iter().map(tier).collect()
}

fn read_files(values: &Resolved) -> Result<FilesConfig, Mismatch> {
    let backend = |name: String| {
        let root = values.get(&format!("files.backends.{name}.root"))?;
        Ok((name, BackendConfig::Local { root }))
    };
    let backends = values
        .names("files.backends.")
        .into_iter()
        .map(backend)
        .collect::<Result<_, Mismatch>>()?;
    Ok(FilesConfig {
        default: values.get("files.default")?,
        backends,
    })
}

fn read_mail(values: &Resolved) -> Result<MailConfig, Mismatch> {
    Ok(MailConfig {
        from_address: values.get("mail.from_address")?,
        from_name: values.get("mail.from_name")?,
        locale: values.get("mail.locale")?,
        outbox_dir: values.get("mail.outbox_dir")?,
        templates_dir: values.get("mail.templates_dir")?,
        verify_ttl: values.get("mail.verify_ttl")?,
        reset_ttl: values.get("mail.reset_ttl")?,
        welcome: values.get("mail.welcome")?,
    })
}

/// Checks the rules between keys. A key that is already at fault raises no second fault.
fn check(resolved: &mut Resolved, config: &Config) {
    // What seems unset may stand in the part of the file that could not be read.
    if resolved.file_is_broken {
        return;
    }
    let mut rules = Rules {
        resolved,
        faults: Vec::new(),
    };
    rules.check_reach(config);
    rules.check_pairs(config);
    rules.check_backends(config);
    kafka::check(&mut rules, config);
    let faults = rules.faults;
    resolved.faults.extend(faults);
}

struct Rules<'a> {
    resolved: &'a Resolved,
    faults: Vec<Fault>,
}

impl Rules<'_> {
    /// Adds a fault of `path`, unless one of the `concerned` keys is at fault already.
    fn fault(&mut self, path: &str, concerned: &[&str], rule: impl Into<String>) {
        let known = |key: &str| self.resolved.faults.iter().any(|fault| fault.key == key);
        if known(path) || concerned.iter().any(|key| known(key)) {
            return;
        }
        let origin = self
            .resolved
            .entries
            .get(path)
            .map_or(Origin::Default, |entry| entry.origin.clone());
        self.faults.push(Fault::at(path, origin, rule));
    }

    fn check_reach(&mut self, config: &Config) {
        if config.public_url.is_none() && !is_loopback(config.http.bind) {
            let rule =
                "must be set, because http.bind is not a loopback address and links are never built from headers";
            self.fault("public_url", &["http.bind"], rule);
        }
        if config.ops.token.is_none() && !is_loopback(config.ops.bind) {
            self.fault(
                "ops.token",
                &["ops.bind"],
                "must be set, because ops.bind is not a loopback address",
            );
        }
        if config.master_key.is_none() && config.database.url.is_postgres() {
            let rule = "must be set with PostgreSQL, the same on every node: make one with \
                        `head -c 32 /dev/urandom | base64`, keep it in a file and set master_key_file";
            self.fault("master_key", &["database.url"], rule);
        }
        if config.http.bind == config.ops.bind && config.http.bind.port() != 0 {
            self.fault("ops.bind", &["http.bind"], "must differ from http.bind");
        }
    }

    fn check_pairs(&mut self, config: &Config) {
        let auth = &config.auth;
        if auth.access_token_ttl > auth.session_idle_ttl {
            let rule = "must be at least auth.access_token_ttl";
            self.fault("auth.session_idle_ttl", &["auth.access_token_ttl"], rule);
        }
        if auth.session_idle_ttl > auth.session_ttl {
            self.fault(
                "auth.session_ttl",
                &["auth.session_idle_ttl"],
                "must be at least auth.session_idle_ttl",
            );
        }
        if config.http.drain_grace > config.http.shutdown_timeout {
            let rule = "must be at least http.drain_grace";
            self.fault("http.shutdown_timeout", &["http.drain_grace"], rule);
        }
        let is_set = |path: &str| {
            self.resolved
                .entries
                .get(path)
                .is_some_and(|entry| entry.value != Value::Unset)
        };
        match (is_set("admin.email"), is_set("admin.password")) {
            (true, false) => self.fault(
                "admin.password",
                &[],
                "must be set, because admin.email is: use admin.password_file",
            ),
            (false, true) => self.fault("admin.email", &[], "must be set, because admin.password is"),
            _ => {}
        }
        for (name, tier) in &config.tiers {
            if tier.max_file_bytes > tier.storage_bytes {
                let other = format!("tiers.{name}.max_file_bytes");
                let path = format!("tiers.{name}.storage_bytes");
                self.fault(&path, &[&other], format!("must be at least {other}"));
            }
        }
    }

    fn check_backends(&mut self, config: &Config) {
        for name in config.files.backends.keys() {
            let path = format!("files.backends.{name}.kind");
            match self.resolved.entries.get(&path).map(|entry| &entry.value) {
                Some(Value::Text(kind)) if kind == "local" => {}
                Some(Value::Text(_)) => {
                    self.fault(
                        &path,
                        &[],
                        "must be local: this binary was built without remote file backends",
                    );
                }
                _ => self.fault(&path, &[], "must be set"),
            }
        }
        if !config.files.backends.contains_key(&config.files.default) {
            let names: Vec<&str> = config.files.backends.keys().map(String::as_str).collect();
            self.fault(
                "files.default",
                &[],
                format!("must name a backend; there are {}", names.join(", ")),
            );
        }
    }
}
