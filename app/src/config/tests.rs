//! The configuration as a whole, from variables and files made by hand.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::*;

const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

fn from_variables(variables: &[(&str, &str)]) -> Result<Loaded, Faults> {
    load(
        &Environment::of_map(variables.iter().copied(), Path::new("/srv")),
        None,
        &[],
    )
}

fn from_file(text: &str, variables: &[(&str, &str)]) -> Result<Loaded, Faults> {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("plinth.toml"), text).unwrap();
    let environment = Environment::of_map(variables.iter().copied(), folder.path());
    load(&environment, Some(Path::new("plinth.toml")), &[])
}

fn faults(result: Result<Loaded, Faults>) -> Vec<String> {
    result.expect_err("faults").0.iter().map(ToString::to_string).collect()
}

#[test]
fn nothing_set_is_a_sound_configuration() {
    let config = from_variables(&[]).unwrap().config;
    assert_eq!(config.data_dir, PathBuf::from("/srv/plinth-data"));
    assert_eq!(config.database.url.expose(), "sqlite:///srv/plinth-data/plinth.db");
    assert_eq!(config.http.bind.to_string(), "127.0.0.1:8080");
    assert_eq!(config.ops.bind.to_string(), "127.0.0.1:9090");
    assert_eq!(
        (
            config.auth.bcrypt_cost,
            config.auth.password_min_length,
            config.auth.hash_threads
        ),
        (12, 15, 2)
    );
    assert_eq!(config.auth.session_idle_ttl, Duration::from_secs(7 * 86_400));
    assert_eq!(config.auth.registration, Registration::Open);
    assert_eq!(
        config.tiers.keys().map(String::as_str).collect::<Vec<_>>(),
        ["enterprise", "free", "pro"]
    );
    let root = PathBuf::from("/srv/plinth-data/blobs");
    assert_eq!(config.files.backends.get("local"), Some(&BackendConfig::Local { root }));
    assert_eq!(config.mail.outbox_dir, PathBuf::from("/srv/plinth-data/outbox"));
    assert!(config.master_key.is_none() && config.public_url.is_none() && config.admin.is_none());
    assert!(config.limits_enabled && config.dangers().is_empty());
}

#[test]
fn later_sources_win() {
    let text = "[http]\nbind = \"127.0.0.1:1\"\n[log]\nlevel = \"debug\"\n[workers]\nmail_concurrency = 2\n";
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("p.toml");
    std::fs::write(&path, text).unwrap();
    let variables = [
        ("PLINTH_CONFIG", path.to_str().unwrap()),
        ("PLINTH_HTTP_BIND", "127.0.0.1:2"),
        ("PLINTH_LOG_LEVEL", "warn"),
    ];
    let environment = Environment::of_map(variables, folder.path());
    let loaded = load(&environment, None, &["log.level=trace".to_owned()]).unwrap();
    assert_eq!(loaded.config.http.bind.port(), 2);
    assert_eq!(loaded.config.log.level, "trace");
    assert_eq!(loaded.config.workers.mail_concurrency, 2);
    let origin = |key: &str| {
        loaded
            .settings
            .iter()
            .find(|setting| setting.key == key)
            .unwrap()
            .origin
            .to_string()
    };
    assert_eq!(origin("http.bind"), "PLINTH_HTTP_BIND");
    assert_eq!(origin("log.level"), "--set");
    assert_eq!(origin("workers.mail_concurrency"), format!("{}:6", path.display()));
    assert_eq!(origin("data_dir"), "default");
}

#[test]
fn all_faults_come_at_once_with_place_rule_and_nearest() {
    let text = "[http]\nbnd = \"x\"\nidle_timeout = \"75\"\n[auth]\nbcrypt_cost = 3\n[[web]]\na = 1\n";
    let told = faults(from_file(
        text,
        &[("PLINTH_HTPP_BIND", "x"), ("PLINTH_OPS_TOKEN", "sesame")],
    ));
    assert_eq!(
        told,
        [
            "http.bnd (plinth.toml:2): no such key; the nearest is http.bind",
            "web (plinth.toml:6): no such key",
            "http.idle_timeout (plinth.toml:3): must be a duration from 100ms to 1h, such as 250ms, 10s, 15m, 24h or 7d",
            "auth.bcrypt_cost (plinth.toml:5): must be a whole number from 4 to 16",
            "PLINTH_HTPP_BIND: no such key; the nearest is PLINTH_HTTP_BIND",
            "ops.token (PLINTH_OPS_TOKEN): must be a secret of 16 to 256 visible ASCII letters",
        ]
    );
}

#[test]
fn no_value_reaches_a_fault_or_a_listing() {
    let secret = "open-sesame-hunter2";
    let wrong = [
        ("PLINTH_MASTER_KEY", secret),
        ("PLINTH_DATABASE_URL", "mysql://u:open-sesame-hunter2@h/d"),
        ("PLINTH_HTTP_BIND", secret),
        ("PLINTH_SMTP_URL", secret),
    ];
    let result = from_variables(&wrong);
    assert!(!format!("{result:?}").contains(secret));
    assert_eq!(faults(result).len(), 4);
    let right = [
        ("PLINTH_MASTER_KEY", KEY),
        ("PLINTH_DATABASE_URL", "postgres://u:open-sesame-hunter2@h/d"),
        ("PLINTH_OPS_TOKEN", secret),
        ("PLINTH_ADMIN_EMAIL", "admin@example.org"),
        ("PLINTH_ADMIN_PASSWORD", secret),
    ];
    let loaded = from_variables(&right).unwrap();
    let all = format!("{loaded:?}");
    assert!(!all.contains(secret) && !all.contains(KEY));
    assert!(all.contains("postgres://u:[redacted]@h/d"));
    assert_eq!(loaded.config.ops.token.unwrap().expose(), secret);
}

#[test]
fn secrets_come_from_files_too() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key");
    std::fs::write(&path, format!("{KEY}\n")).unwrap();
    let path = path.to_str().unwrap();
    let key = from_variables(&[("PLINTH_MASTER_KEY_FILE", path)])
        .unwrap()
        .config
        .master_key
        .unwrap();
    assert_eq!(key.expose()[31], 31);
    let both = faults(from_variables(&[
        ("PLINTH_MASTER_KEY_FILE", path),
        ("PLINTH_MASTER_KEY", KEY),
    ]));
    assert_eq!(
        both,
        ["master_key (PLINTH_MASTER_KEY_FILE): must be set once, and PLINTH_MASTER_KEY sets it too"]
    );
    let none = faults(from_variables(&[("PLINTH_MASTER_KEY_FILE", "/nowhere/key")]));
    assert_eq!(
        none,
        ["master_key (PLINTH_MASTER_KEY_FILE): the file cannot be read: no such file"]
    );
    // Of two sources the later counts, by whichever name.
    let text = format!("master_key = \"{KEY}\"\n");
    assert!(from_file(&text, &[("PLINTH_MASTER_KEY_FILE", path)]).is_ok());
}

#[test]
fn reach_beyond_this_machine_needs_what_protects_it() {
    let told = faults(from_variables(&[
        ("PLINTH_HTTP_BIND", "0.0.0.0:8080"),
        ("PLINTH_OPS_BIND", "[::]:9090"),
        ("PLINTH_DATABASE_URL", "postgres://plinth@db/plinth"),
    ]));
    assert_eq!(told.len(), 3, "{told:?}");
    assert!(
        told[0].starts_with("public_url (not set): must be set, because http.bind"),
        "{told:?}"
    );
    assert!(told[1].starts_with("ops.token (not set): must be set"), "{told:?}");
    assert!(told[2].contains("head -c 32 /dev/urandom | base64"), "{told:?}");
    let sound = from_variables(&[
        ("PLINTH_HTTP_BIND", "0.0.0.0:8080"),
        ("PLINTH_PUBLIC_URL", "https://example.org/plinth/"),
        ("PLINTH_OPS_BIND", "[::]:9090"),
        ("PLINTH_OPS_TOKEN", "0123456789abcdef"),
        ("PLINTH_DATABASE_URL", "postgres://plinth@db/plinth"),
        ("PLINTH_MASTER_KEY", KEY),
    ]);
    assert_eq!(
        sound.unwrap().config.public_url.unwrap().as_str(),
        "https://example.org/plinth"
    );
}

#[test]
fn a_fault_does_not_cause_a_second_one() {
    let told = faults(from_variables(&[
        ("PLINTH_MASTER_KEY", "short"),
        ("PLINTH_DATABASE_URL", "postgres://p@db/p"),
    ]));
    assert_eq!(told, ["master_key (PLINTH_MASTER_KEY): must be 32 bytes in base64"]);
    let told = faults(from_file(
        "data_dir = \n",
        &[("PLINTH_DATABASE_URL", "postgres://p@db/p")],
    ));
    assert!(told.len() == 1 && told[0].contains("must be TOML"), "{told:?}");
}

#[test]
fn what_is_not_built_in_is_refused_plainly() {
    for (name, text) in [("SMTP_URL", "SMTP"), ("REDIS_URL", "Redis")] {
        let told = faults(from_variables(&[(&format!("PLINTH_{name}"), "smtp://localhost")]));
        assert!(
            told.len() == 1 && told[0].contains(&format!("must not be set: this binary was built without {text}")),
            "{told:?}"
        );
    }
    let variables = [
        ("PLINTH_FILES_BACKENDS_CLOUD_KIND", "s3"),
        ("PLINTH_FILES_BACKENDS_CLOUD_BUCKET", "b"),
    ];
    let told = faults(from_variables(&variables));
    assert_eq!(
        told,
        [
            "files.backends.cloud.bucket (PLINTH_FILES_BACKENDS_CLOUD_BUCKET): must not be set: this binary was built \
             without remote file backends",
            "files.backends.cloud.kind (PLINTH_FILES_BACKENDS_CLOUD_KIND): must be local: this binary was built \
             without remote file backends",
        ]
    );
}

#[test]
fn backends_and_tiers_take_names() {
    let text = "[files]\ndefault = \"fast\"\n[files.backends.fast]\nkind = \"local\"\n\n[tiers.team]\nfeatures = [\"export\"]\nstorage_bytes = \"2GiB\"\n";
    let config = from_file(text, &[("PLINTH_TIERS_FREE_EVENTS_PER_MINUTE", "7")])
        .unwrap()
        .config;
    let root = config.data_dir.join("blobs-fast");
    assert_eq!(config.files.backends.get("fast"), Some(&BackendConfig::Local { root }));
    assert_eq!(config.tiers["team"].features, ["export"]);
    assert_eq!(config.tiers["team"].max_file_bytes, config.tiers["free"].max_file_bytes);
    assert_eq!(config.tiers["free"].events_per_minute, 7);
    let told = faults(from_variables(&[("PLINTH_FILES_DEFAULT", "main")]));
    assert_eq!(
        told,
        ["files.default (PLINTH_FILES_DEFAULT): must name a backend; there are local"]
    );
    let told = faults(from_file("[files.backends.slow]\nroot = \"x\"\n", &[]));
    assert_eq!(told, ["files.backends.slow.kind (not set): must be set"]);
    let told = faults(from_file("[tiers.free]\nmax_file_byts = 1\n", &[]));
    assert_eq!(
        told,
        ["tiers.free.max_file_byts (plinth.toml:2): no such key; the nearest is tiers.free.max_file_bytes"]
    );
    let told = faults(from_variables(&[("PLINTH_TIERS_FREE_MAX_FILE_BYTS", "1")]));
    assert!(
        told[0].ends_with("the nearest is PLINTH_TIERS_FREE_MAX_FILE_BYTES"),
        "{told:?}"
    );
}

#[test]
fn keys_that_belong_together_are_checked_together() {
    let told = faults(from_variables(&[
        ("PLINTH_AUTH_SESSION_TTL", "1d"),
        ("PLINTH_ADMIN_EMAIL", "admin@example.org"),
        ("PLINTH_OPS_BIND", "127.0.0.1:8080"),
        ("PLINTH_HTTP_DRAIN_GRACE", "20s"),
    ]));
    let keys: Vec<&str> = told.iter().filter_map(|fault| fault.split(' ').next()).collect();
    assert_eq!(
        keys,
        [
            "ops.bind",
            "auth.session_ttl",
            "http.shutdown_timeout",
            "admin.password"
        ]
    );
}

#[test]
fn flags_take_no_secrets() {
    let environment = Environment::of_map([], Path::new("/srv"));
    let flags = ["ops.token=0123456789abcdef", "nonsense", "http.bnd=1"].map(str::to_owned);
    let told = faults(load(&environment, None, &flags));
    assert_eq!(told.len(), 3, "{told:?}");
    assert!(
        told.iter().any(|fault| fault.contains("set ops.token_file instead")),
        "{told:?}"
    );
    assert!(!told.concat().contains("0123456789abcdef"));
}

#[test]
fn dangerous_settings_are_named() {
    let variables = [
        ("PLINTH_AUTH_BCRYPT_COST", "4"),
        ("PLINTH_LIMITS_ENABLED", "false"),
        ("PLINTH_PUBLIC_URL", "http://example.org"),
        ("PLINTH_DATABASE_SYNCHRONOUS", "normal"),
    ];
    let keys: Vec<&str> = from_variables(&variables)
        .unwrap()
        .config
        .dangers()
        .iter()
        .map(|danger| danger.key)
        .collect();
    assert_eq!(
        keys,
        [
            "auth.bcrypt_cost",
            "limits.enabled",
            "database.synchronous",
            "public_url"
        ]
    );
}

#[test]
fn variables_of_others_are_passed_over() {
    let variables = [
        ("PLINTH_SERVICE_HOST", "10.0.0.1"),
        ("PLINTH_PORT", "tcp://10.0.0.1:80"),
        ("PLINTH_TEST_REQUIRE", "1"),
    ];
    assert!(from_variables(&variables).is_ok());
}

#[test]
fn the_production_file_of_the_reference_is_sound() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let text = reference::PRODUCTION
        .replace("/run/secrets/plinth_master_key", &file("key", KEY))
        .replace(
            "/run/secrets/plinth_database_url",
            &file("url", "postgres://plinth:pw@db/plinth\n"),
        );
    let config = from_file(&text, &[]).unwrap().config;
    assert!(config.database.url.is_postgres() && config.dangers().is_empty());
}

#[test]
fn a_missing_or_wrong_file_is_a_fault() {
    let environment = Environment::of_map([("PLINTH_CONFIG", "none.toml")], Path::new("/srv"));
    assert_eq!(
        faults(load(&environment, None, &[])),
        ["PLINTH_CONFIG: the file cannot be read: no such file"]
    );
}

#[test]
fn it_is_known_where_each_secret_stands() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, "0123456789abcdef").unwrap();
    let text = format!("master_key = \"{KEY}\"\n[ops]\ntoken_file = \"{}\"\n", file.display());
    std::fs::write(folder.path().join("plinth.toml"), text).unwrap();
    let variables = [
        ("PLINTH_CONFIG", "plinth.toml"),
        ("PLINTH_DATABASE_URL", "postgres://u:p@h/d"),
    ];
    let environment = Environment::of_map(variables, folder.path());
    let secrets = load(&environment, None, &[]).unwrap().config.secrets;
    let files: Vec<_> = secrets
        .iter()
        .map(|secret| (secret.key.as_str(), secret.file.clone()))
        .collect();
    let config = folder.path().join("plinth.toml");
    assert_eq!(
        files,
        [
            ("database.url", None),
            ("master_key", Some(config)),
            ("ops.token", Some(file))
        ]
    );
    assert_eq!(secrets[0].origin, Origin::Variable("PLINTH_DATABASE_URL".to_owned()));
}

#[test]
fn settings_of_kafka_ask_for_each_other() {
    let brokers = ("PLINTH_KAFKA_BROKERS", "kafka:9092");
    let kafka = from_variables(&[brokers]).unwrap().config.kafka.unwrap();
    assert_eq!(
        (kafka.topic.as_str(), kafka.partitions, kafka.replication),
        ("plinth.events", 12, None)
    );
    assert!(from_variables(&[]).unwrap().config.kafka.is_none());
    assert!(kafka.consume.is_empty() && kafka.consume_from_beginning && kafka.group == "plinth");
    let two = [
        brokers,
        ("PLINTH_KAFKA_CONSUME", "shop.orders, shop.bills"),
        ("PLINTH_KAFKA_CONSUME_FROM", "latest"),
    ];
    let kafka = from_variables(&two).unwrap().config.kafka.unwrap();
    assert_eq!(kafka.consume, ["shop.orders", "shop.bills"]);
    assert!(!kafka.consume_from_beginning);
    for (variables, told) in [
        (vec![("PLINTH_KAFKA_SASL_PASSWORD", "hunter2")], "kafka.brokers"),
        (vec![("PLINTH_KAFKA_CONSUME", "shop.orders")], "kafka.brokers"),
        (vec![brokers, ("PLINTH_KAFKA_CONSUME", "shop.orders,")], "kafka.consume"),
        (vec![brokers, ("PLINTH_KAFKA_CONSUME", "a,b, a")], "kafka.consume"),
        (
            vec![brokers, ("PLINTH_KAFKA_CONSUME", "a,plinth.events")],
            "kafka.consume",
        ),
        (
            vec![brokers, ("PLINTH_KAFKA_SASL_PASSWORD", "hunter2")],
            "kafka.sasl_password",
        ),
        (vec![brokers, ("PLINTH_KAFKA_TLS_CA", "ca.pem")], "kafka.tls_ca"),
        (vec![("PLINTH_KAFKA_BROKERS", "kafka")], "kafka.brokers"),
        (vec![brokers, ("PLINTH_KAFKA_SETTINGS", "hunter2")], "kafka.settings"),
        (
            vec![
                brokers,
                ("PLINTH_KAFKA_SECURITY_PROTOCOL", "ssl"),
                ("PLINTH_KAFKA_TLS_KEY", "k.pem"),
            ],
            "kafka.tls_certificate",
        ),
    ] {
        let faults = faults(from_variables(&variables));
        assert!(
            faults.len() == 1 && faults[0].starts_with(told),
            "{variables:?}: {faults:?}"
        );
        assert!(!faults[0].contains("hunter2"));
    }
    let half = [
        brokers,
        ("PLINTH_KAFKA_SECURITY_PROTOCOL", "sasl_ssl"),
        ("PLINTH_KAFKA_SASL_USERNAME", "plinth"),
    ];
    let told = faults(from_variables(&half));
    assert_eq!(told.len(), 2, "{told:?}");
    let whole = [
        brokers,
        ("PLINTH_KAFKA_SECURITY_PROTOCOL", "sasl_ssl"),
        ("PLINTH_KAFKA_SASL_USERNAME", "plinth"),
        ("PLINTH_KAFKA_SASL_PASSWORD", "hunter2"),
        ("PLINTH_KAFKA_SASL_MECHANISM", "SCRAM-SHA-512"),
        ("PLINTH_KAFKA_SETTINGS", "socket.timeout.ms=5000"),
    ];
    let loaded = from_variables(&whole).unwrap();
    assert!(!format!("{:?}{:?}", loaded.config, loaded.settings).contains("hunter2"));
    let kafka = loaded.config.kafka.unwrap();
    assert_eq!(
        kafka.settings.expose(),
        &[("socket.timeout.ms".to_owned(), "5000".to_owned())]
    );
}
