//! How the errors that services share look on the wire.

use ports::{BackendError, EffectsError, HashPasswordError};

use super::problem::Fault;

impl From<BackendError> for Fault {
    fn from(error: BackendError) -> Self {
        let fault = match (error.full, error.temporary) {
            (true, _) => Self::storage_full(),
            (false, true) => Self::dependency_unavailable(),
            (false, false) => Self::internal_error(),
        };
        fault.caused_by(error)
    }
}

impl From<EffectsError> for Fault {
    fn from(error: EffectsError) -> Self {
        match error {
            EffectsError::EventIdTaken(_) => {
                Self::conflict().detail("An event with this id and another content exists; choose another id.")
            }
            // Only handlers write inbox marks, and none of them answers a request.
            error @ EffectsError::AlreadyHandled => Self::internal_error().caused_by(error),
            EffectsError::Backend(error) => error.into(),
        }
    }
}

impl From<HashPasswordError> for Fault {
    fn from(error: HashPasswordError) -> Self {
        match error {
            HashPasswordError::Overloaded { retry_after } => {
                Self::overloaded().retry_after(retry_after.as_secs().max(1))
            }
            HashPasswordError::Backend(error) => error.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backend_that_fails_tells_whether_to_come_back() {
        let code = |error: BackendError| Fault::from(error).code();
        let temporary = || BackendError::temporary("sql", "x", "away");
        assert_eq!(code(temporary()), "dependency_unavailable");
        assert_eq!(code(BackendError::permanent("sql", "x", "broken")), "internal_error");
        let full = BackendError {
            full: true,
            ..temporary()
        };
        assert_eq!(code(full.again()), "storage_full", "also when it is told again");
    }
}
