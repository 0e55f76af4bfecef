# Every CI step is a recipe that runs at home. `just ci` is what CI runs.

default:
    @just --list

# The main job: a federation of three regions on this machine.
demo *ARGS:
    cargo run --release -- demo {{ARGS}}

test:
    cargo test --workspace

fmt:
    cargo fmt --all
    cd plugins && cargo fmt --all

lint:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets -- -D warnings

# Rebuild the shipped policies; needs a Rust with the target wasm32-unknown-unknown.
policies:
    cd plugins && cargo xtask

# Rewrite the generated types after a change of proto/polder/v1/*.proto.
proto:
    POLDER_REGENERATE=1 cargo test -p polder-proto --test generated

# Drive the core through seeded faults; `just seeds 100000` for more.
seeds N="20000":
    cargo run -- sim --seeds {{N}}

# Hurt a live federation of real processes at random moments for so many seconds, and see that nothing was lost.
chaos SECONDS="600" SEED="1":
    POLDER_CHAOS_SECONDS={{SECONDS}} POLDER_CHAOS_SEED={{SEED}} cargo test -p polder-tests --test chaos

# Rounds for so many minutes, and whether memory, descriptors, threads and disk stay flat.
soak MINUTES="60":
    cargo run --release -- bench soak --minutes {{MINUTES}}

bench:
    cargo run --release -- bench round --workers 2 --params 1000 --rounds 200
    cargo run --release -- bench fanin
    cargo run --release -- bench large
    cargo bench -p polder-coordinator -p polder-policy -p polder-train

deny:
    cargo deny check

ci:
    .ci/run
