//! A Kafka for tests: one that all share, or one of a test's own whose brokers it may kill; and what an independent
//! client reads from a topic.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::{Seek as _, Write as _};
use std::process::{Command, Output};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::tools::{run, script, succeeded};
use crate::{environment, left_out, workspace_root};

/// The brokers that `scripts/test` started for all tests, and a topic that no other test uses.
///
/// None, said on standard error, when there are none: the test then returns at once.
///
/// # Panics
/// With `PLINTH_TEST_REQUIRE=1` when there are none.
pub fn shared_brokers() -> Option<(String, String)> {
    let Some(brokers) = environment("PLINTH_TEST_KAFKA_BROKERS") else {
        left_out("Kafka");
        return None;
    };
    Some((brokers, format!("plinth.{}", uuid::Uuid::now_v7())))
}

/// A cluster of the test's own, ended with this value.
#[derive(Debug)]
pub struct TestKafka {
    server: &'static str,
    brokers: String,
    folder: TempDir,
}

impl TestKafka {
    /// One broker.
    pub fn one() -> Option<Self> {
        Self::start("kafka", "PLINTH_TEST_KAFKA_BROKERS")
    }

    /// Three brokers: what one of them has, the others have too.
    pub fn three() -> Option<Self> {
        Self::start("kafka3", "PLINTH_TEST_KAFKA3_BROKERS")
    }

    /// None, said aloud, where Kafka cannot be had.
    fn start(server: &'static str, variable: &str) -> Option<Self> {
        shared_brokers()?;
        let folder = tempfile::tempdir().expect("a folder");
        let mut kafka = Self {
            server,
            brokers: String::new(),
            folder,
        };
        kafka.services(&["up", server]);
        let written = std::fs::read_to_string(kafka.folder.path().join("env")).expect("the addresses are written down");
        kafka.brokers = written
            .lines()
            .find_map(|line| line.strip_prefix(variable)?.strip_prefix('='))
            .expect("the address of the brokers")
            .to_owned();
        Some(kafka)
    }

    /// `HOST:PORT`, with commas.
    pub fn brokers(&self) -> &str {
        &self.brokers
    }

    /// Ends a broker without asking, as a crash would; the first is 1.
    pub fn kill(&self, broker: u8) {
        let pid = self
            .folder
            .path()
            .join(self.server)
            .join(broker.to_string())
            .join("pid");
        let pid = std::fs::read_to_string(pid).expect("its process id");
        let _ = succeeded(
            "kill",
            &run(Command::new("sh").arg("-c").arg(format!("kill -KILL {}", pid.trim()))),
        );
    }

    /// Brings a killed broker back with its data, and waits until it answers.
    pub fn start_again(&self, broker: u8) {
        self.services(&["start", self.server, &broker.to_string()]);
    }

    fn services(&self, arguments: &[&str]) {
        let _ = succeeded(
            &format!("scripts/services {}", arguments.join(" ")),
            &self.output(arguments),
        );
    }

    fn output(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(workspace_root().join("scripts/services"));
        run(command.args(arguments).arg("--dir").arg(self.folder.path()))
    }
}

impl Drop for TestKafka {
    fn drop(&mut self) {
        let _ = self.output(&["down", self.server]);
    }
}

/// Writes into a topic as another service would, with an independent client: lines as `tests/clients/kafka/write.py` takes
/// them. Returns when all of it is acknowledged. None, said aloud, where the client cannot be had.
///
/// # Panics
/// When the client fails.
pub fn write(brokers: &str, topic: &str, partitions: u32, lines: &[Value]) -> Option<()> {
    let python = script("aiokafka", "tools", &["aiokafka"])?;
    let mut text = tempfile::tempfile().expect("a file");
    for line in lines {
        writeln!(text, "{line}").expect("written");
    }
    text.rewind().expect("from its beginning");
    let mut client = Command::new(python);
    client
        .arg("tests/clients/kafka/write.py")
        .args([brokers, topic, &partitions.to_string()])
        .current_dir(workspace_root())
        .stdin(text);
    let _ = succeeded("write.py", &client.output().expect("it runs"));
    Some(())
}

/// An event of a shop for [`write()`]: of this user, with a number for an id, in one mode or the other.
pub fn order(user: &str, number: u64) -> Value {
    json!({
        "key": user,
        "mode": if number.is_multiple_of(2) { "structured" } else { "binary" },
        "attributes": {
            "id": format!("order-{number}"),
            "source": "https://shop.example.org/orders",
            "type": "app.order.placed",
            "datacontenttype": "application/json",
            "userid": user,
        },
        "data": { "number": number },
    })
}

/// What an independent client found in a topic, each record a CloudEvent in the judgement of an independent library.
#[derive(Debug, Default)]
pub struct Topic {
    /// The records of each partition, in their order.
    pub records: BTreeMap<u64, Vec<Value>>,
}

impl Topic {
    /// Reads all of it; None, said aloud, where the client cannot be had.
    ///
    /// # Panics
    /// When a record is no CloudEvent under the key of its user.
    pub fn read(brokers: &str, topic: &str) -> Option<Self> {
        let python = script("aiokafka", "tools", &["aiokafka"])?;
        let read = run(Command::new(python)
            .arg("tests/clients/kafka/read.py")
            .args([brokers, topic]));
        let mut found = Self::default();
        for line in succeeded("read.py", &read).lines() {
            let record: Value = serde_json::from_str(line).expect("JSON");
            let partition = record["partition"].as_u64().expect("a partition");
            found
                .records
                .entry(partition)
                .or_default()
                .push(record["value"].clone());
        }
        Some(found)
    }

    /// Records, repeated ones too.
    pub fn len(&self) -> usize {
        self.records.values().map(Vec::len).sum()
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The ids that are in it.
    pub fn ids(&self) -> HashSet<&str> {
        let all = self.records.values().flatten();
        all.filter_map(|event| event["id"].as_str()).collect()
    }

    /// Asserts what is promised of it: a user's events are in one partition, their first occurrences in the order of
    /// positions and without a gap; what comes again is word for word what came before.
    ///
    /// # Panics
    /// When it does not hold.
    pub fn assert_promised(&self) {
        let mut homes: HashMap<&str, u64> = HashMap::new();
        let mut known: HashMap<&str, &Value> = HashMap::new();
        let mut last: HashMap<&str, &str> = HashMap::new();
        for (partition, events) in &self.records {
            for event in events {
                let text = |name: &str| event[name].as_str().expect("a text");
                let (id, user, sequence) = (text("id"), text("userid"), text("sequence"));
                assert_eq!(
                    homes.entry(user).or_insert(*partition),
                    partition,
                    "{user} is in two partitions"
                );
                match known.insert(id, event) {
                    Some(before) => assert_eq!(before, event, "{id} says something else the second time"),
                    None => {
                        let before = last.insert(user, sequence);
                        assert!(
                            before.is_none_or(|before| before < sequence),
                            "{id} comes after {before:?}"
                        );
                    }
                }
            }
        }
    }
}
