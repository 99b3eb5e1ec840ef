//! Licence expressions (SPDX, and the older form with a stroke for OR), judged against a list of what is allowed.

/// Whether a package under this expression may be used when only `allowed` licences may.
///
/// An exception is part of its licence: `Apache-2.0 WITH LLVM-exception` must be in the list as a whole. An expression
/// that cannot be read is not allowed.
pub fn allows(expression: &str, allowed: &[&str]) -> bool {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let mut judge = Judge {
        words: spaced.split_whitespace().collect(),
        at: 0,
        allowed,
        broken: false,
    };
    let good = judge.any_of();
    good && !judge.broken && judge.at == judge.words.len()
}

struct Judge<'a> {
    words: Vec<&'a str>,
    at: usize,
    allowed: &'a [&'a str],
    broken: bool,
}

impl Judge<'_> {
    /// Takes the next word if it is `word`.
    fn take(&mut self, word: &str) -> bool {
        let taken = self.words.get(self.at) == Some(&word);
        self.at += usize::from(taken);
        taken
    }

    /// The next word, which must be there.
    fn next(&mut self) -> String {
        let word = self.words.get(self.at).map(|word| (*word).to_owned());
        self.at += 1;
        self.broken |= word.is_none();
        word.unwrap_or_default()
    }

    fn allows(&self, licence: &str) -> bool {
        self.allowed.contains(&licence)
    }

    fn any_of(&mut self) -> bool {
        let mut allowed = self.all_of();
        while self.take("OR") {
            allowed |= self.all_of();
        }
        allowed
    }

    fn all_of(&mut self) -> bool {
        let mut allowed = self.one();
        while self.take("AND") {
            allowed &= self.one();
        }
        allowed
    }

    fn one(&mut self) -> bool {
        if self.take("(") {
            let allowed = self.any_of();
            return self.take(")") && allowed;
        }
        let word = self.next();
        if !self.take("WITH") {
            return self.allows(&word);
        }
        let exception = self.next();
        self.allows(&format!("{word} WITH {exception}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALLOWED: &[&str] = &[
        "MIT",
        "Apache-2.0",
        "Apache-2.0 WITH LLVM-exception",
        "ISC",
        "Unicode-3.0",
    ];

    #[test]
    fn one_allowed_choice_is_enough_and_every_part_counts() {
        let good = [
            "MIT",
            "MIT/Apache-2.0",
            "GPL-3.0 OR MIT",
            "(MIT OR Apache-2.0) AND Unicode-3.0",
            "Apache-2.0 WITH LLVM-exception OR GPL-2.0",
        ];
        for expression in good {
            assert!(allows(expression, ALLOWED), "{expression}");
        }
        let bad = [
            "GPL-3.0-only",
            "MIT AND GPL-3.0-only",
            "(MIT OR ISC) AND AGPL-3.0",
            "MIT WITH Other-exception",
            "Apache-2.0 WITH Other-exception",
        ];
        for expression in bad {
            assert!(!allows(expression, ALLOWED), "{expression}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_not_allowed() {
        for expression in ["", "(MIT", "MIT )", "MIT MIT", "MIT OR", "MIT WITH"] {
            assert!(!allows(expression, ALLOWED), "{expression}");
        }
    }
}
