# What people do here, by name. `just` alone lists it.

default:
    @just --list --unsorted

# Plinth with everything it needs, in ./plinth-data
serve *arguments:
    cargo run --release -p plinth -- serve {{arguments}}

# Everything, on private servers: what a change must pass
test *arguments:
    scripts/test {{arguments}}

# Without servers: says what it leaves out
quick *arguments:
    cargo test --workspace {{arguments}}

# The rules of the house alone
rules:
    cargo test -p plinth-tests --test architecture --test tidy

# How fast it is here: ours beside the limits of the stack, in one run
bench *arguments:
    scripts/bench {{arguments}}

lint:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets -- -D warnings

format:
    cargo fmt --all

# The committed contract: check, refresh or lint
spec action="check":
    scripts/spec {{action}}

# A private PostgreSQL in .scratch; its address is in .scratch/env
up:
    scripts/services up postgres

down:
    scripts/services down

# All that is asked of a change, as the CI runs it
ci:
    .ci/run

# Licences, sources and duplicates (needs cargo-deny)
deny:
    cargo deny check bans licenses sources
