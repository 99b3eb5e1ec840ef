//! What a Rust source says, as far as the rules of the house ask: by plain reading of text, without a parser.

use std::collections::BTreeSet;

/// Whether a source names a crate: as the first segment of a path or as what is imported.
pub fn names_crate(source: &str, alias: &str) -> bool {
    let part_of_word = |character: char| character.is_alphanumeric() || character == '_';
    source.match_indices(alias).any(|(at, _)| {
        let before = source[..at].chars().next_back();
        let after = &source[at + alias.len()..];
        !before.is_some_and(|character| part_of_word(character) || character == '.')
            && (after.starts_with("::") || after.starts_with(';') || after.starts_with(" as "))
    })
}

/// Whether a line contains a text that does not begin in the middle of a word.
pub fn contains_word(line: &str, text: &str) -> bool {
    let in_word = |character: char| character.is_alphanumeric() || character == '_';
    let starts_as_word = text.starts_with(in_word);
    line.match_indices(text)
        .any(|(at, _)| !(starts_as_word && line[..at].chars().next_back().is_some_and(in_word)))
}

/// Code without comments and without the unit tests at its end, each stretch of space as one blank.
fn plain_code(source: &str) -> String {
    let code = source.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
    let without_comments = code.lines().map(|line| line.split("//").next().unwrap_or_default());
    without_comments
        .collect::<Vec<_>>()
        .join(" ")
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
}

/// The names of the public traits of a source.
pub fn public_traits(source: &str) -> BTreeSet<String> {
    let code = plain_code(source);
    let names = code.split("pub trait ").skip(1).map(|rest| {
        let end = rest
            .find(|character: char| !(character.is_alphanumeric() || character == '_'))
            .unwrap_or(rest.len());
        rest[..end].to_owned()
    });
    names.collect()
}

/// Whether a source implements a trait for anything: `impl<..> path::Name<..> for`.
pub fn implements(source: &str, port: &str) -> bool {
    let code = plain_code(source);
    code.match_indices(port).any(|(at, _)| {
        let after = &code[at + port.len()..];
        let before = &code[..at];
        let statement = before.rfind([';', '{', '}']).map_or(before, |end| &before[end + 1..]);
        let attributes_end = statement.rfind(']').map_or(0, |end| end + 1);
        let whole_name = !before.ends_with(|character: char| character.is_alphanumeric() || character == '_');
        whole_name && after.starts_with(" for ") && statement[attributes_end..].trim_start().starts_with("impl")
    })
}

/// `BlobStore` to `blob_store`.
pub fn snake(name: &str) -> String {
    let mut snake = String::new();
    for character in name.chars() {
        if character.is_uppercase() && !snake.is_empty() {
            snake.push('_');
        }
        snake.extend(character.to_lowercase());
    }
    snake
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crate_is_named_by_a_path_and_not_by_a_word() {
        assert!(names_crate("use kernel::user::User;", "kernel"));
        assert!(names_crate("pub use kernel as k;", "kernel"));
        assert!(!names_crate("let kernel = 1; sub_kernel::x; self.kernel::y", "kernel"));
    }

    #[test]
    fn a_word_is_found_and_its_like_is_not() {
        assert!(contains_word("x = later!()", "later!("));
        assert!(contains_word("// LATER: more", "LATER"));
        assert!(!contains_word("mylater!()", "later!("));
    }

    #[test]
    fn ports_and_their_implementations_are_recognised() {
        let source =
            "/// pub trait Not\npub trait BlobStore: Send + Sync {\n}\npub(crate) trait Hidden {}\npub trait Clock {}";
        assert_eq!(
            public_traits(source).into_iter().collect::<Vec<_>>(),
            ["BlobStore", "Clock"]
        );
        assert_eq!(snake("BlobStore"), "blob_store");

        let direct = "#[async_trait]\nimpl BlobStore for Disk {\n}";
        let by_path = "use x;\nimpl<T: ports::BlobStore>\n    ports::BlobStore for Guarded<T>\n{\n}";
        assert!(implements(direct, "BlobStore") && implements(by_path, "BlobStore"));
        assert!(!implements("impl MyBlobStore for X {}", "BlobStore"));
        assert!(!implements("// impl BlobStore for Disk", "BlobStore"));
        assert!(!implements("impl Display for BlobStore {}", "BlobStore"));
        assert!(!implements(
            "fn f() {}\n#[cfg(test)]\nmod tests { impl BlobStore for Fake {} }",
            "BlobStore"
        ));
    }
}
