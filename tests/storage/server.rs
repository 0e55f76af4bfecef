//! A PostgreSQL server that is away, refuses, restarts.

use std::time::Duration;

use polder_coordinator::store::{Store, StoreError};
use polder_tests::eventually;
use polder_tests::postgres::Postgres;

use crate::place::{Place, TTL, entries, line, member, recorded, replayed, told, until_waiting};

#[tokio::test]
async fn what_was_appended_survives_a_crash_of_the_server_and_it_goes_on_by_itself() {
    let Some(mut postgres) = Postgres::start() else { return };
    let place = Place::at(postgres.database());
    let (store, term) = place.leading("a").await;
    store.append(term, &entries(1..=50), &[line(None, "before")], &[]).await.unwrap();
    assert_eq!(replayed(&store, 1).await.len(), 50);
    postgres.crash();

    let error = store.append(term, &entries(51..=51), &[], &[]).await.unwrap_err();
    assert!(error.is_passing(), "{error:?}");
    assert!(error.to_string().contains("is away; is it running and reachable?"), "{error}");
    assert!(store.renew(term, TTL).await.unwrap_err().is_passing());
    assert!(store.latest_snapshot().await.unwrap_err().is_passing());
    postgres.resume();

    assert!(store.renew(term, TTL).await.unwrap());
    assert_eq!(store.append(term, &entries(51..=51), &[], &[]).await.unwrap(), 51);
    assert_eq!(replayed(&store, 1).await, recorded(1..=51));
    assert_eq!(told(&store).await, ["before"]);
    // Once more, without a look at anything in between: the first write finds a dead connection.
    postgres.stop();
    postgres.resume();
    let written = eventually("it writes again", async || match store.append(term, &entries(52..=53), &[], &[]).await {
        Ok(seq) => Some(seq),
        Err(error) if error.is_passing() => None,
        Err(error) => panic!("{error:?}"),
    });
    assert_eq!(written.await, 53);
    assert_eq!(replayed(&store, 1).await, recorded(1..=53));
}

/// As when a replica takes over that had not heard of the last commits.
#[tokio::test]
async fn what_the_database_lost_leaves_no_hole() {
    let Some(place) = Place::postgres() else { return };
    let (store, term) = place.leading("a").await;
    store.append(term, &entries(1..=5), &[], &[]).await.unwrap();
    place.sql("DELETE FROM journal WHERE seq > 3").await;
    let error = store.append(term, &entries(6..=6), &[], &[]).await.unwrap_err();
    assert!(matches!(error, StoreError::JournalLost { confirmed: 5, found: 3 }), "{error:?}");
    assert!(!error.is_passing());
    let next = store.try_lead(&member("a"), TTL).await.unwrap().unwrap();
    assert_eq!(replayed(&store, 1).await, recorded(1..=3));
    assert_eq!(store.append(next, &entries(4..=4), &[], &[]).await.unwrap(), 4);
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_not_waited_for() {
    let Some(mut postgres) = Postgres::start() else { return };
    let place = Place::at(postgres.database());
    let (store, term) = place.leading("a").await;
    signal(&postgres, "-STOP");
    // The session that this coordinator has goes on without the process that it was born from; a new one does not come.
    let error = Store::open(&place.config("b")).await.unwrap_err();
    assert!(matches!(error, StoreError::DatabaseSilent { .. }), "{error:?}");
    assert!(error.is_passing());
    signal(&postgres, "-CONT");
    assert!(store.renew(term, TTL).await.unwrap());
    postgres.stop();
}

fn signal(postgres: &Postgres, signal: &str) {
    let done = std::process::Command::new("kill").args([signal, &postgres.pid().to_string()]).status().unwrap();
    assert!(done.success());
}

#[tokio::test]
async fn what_is_wrong_with_a_database_is_said_without_its_password() {
    let Some(postgres) = Postgres::shared() else { return };
    let database = postgres.database();
    let right = postgres.over_tcp(&database);
    let (user_and_password, rest) = right.trim_start_matches("postgres://").split_once('@').unwrap();
    let (user, password) = user_and_password.split_once(':').unwrap();
    let (server, name) = rest.split_once('/').unwrap();
    let host = server.split_once(':').unwrap().0;
    let cases = [
        (format!("postgres://{user}:hush@{server}/{name}"), "the password is wrong or missing", false),
        (format!("postgres://{user}:{password}@{server}/absent"), "there is no such database", false),
        (format!("postgres://{user}:{password}@{host}:1/{name}"), "is it running and reachable?", true),
        (format!("postgres://{user}:{password}@{server}/{name}?sslmode=require"), "its TLS is not what", false),
        (format!("postgres://{user}:{password}@{server}/{name}?sslmode=hush"), "cannot be used", false),
        (String::from("mysql://polder:hush@localhost/x"), "it does not begin with `postgres://`", false),
    ];
    for (url, says, is_passing) in cases {
        let place = Place::at(url.clone());
        let error = Store::open(&place.config("a")).await.unwrap_err();
        let said = format!("{error} {error:?} {:?}", place.config("a"));
        assert!(said.contains(says), "{url}: {said}");
        assert!(!said.contains("hush") && !said.contains(password), "{said}");
        assert_eq!(error.is_passing(), is_passing, "{said}");
    }
    let store = Store::open(&Place::at(right.clone()).config("a")).await.unwrap();
    assert_eq!(store.database_kind(), "postgres");
    assert!(!format!("{store:?}").contains(password));
}

#[tokio::test]
async fn tls_is_as_the_address_asks() {
    let Some(postgres) = Postgres::start() else { return };
    let certificate = |name: &str| rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
    let (ours, other) = (certificate("127.0.0.1"), certificate("127.0.0.1"));
    postgres.use_tls(&ours.cert.pem(), &ours.signing_key.serialize_pem());
    let dir = tempfile::tempdir().unwrap();
    let trusting = |name: &str, pem: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, pem).unwrap();
        let database = postgres.database();
        let address = postgres.over_tcp(&database);
        Place::at(format!("{address}?sslmode=verify-full&sslrootcert={}", path.display()))
    };
    let place = trusting("ours.pem", &ours.cert.pem());
    let (store, term) = place.leading("a").await;
    assert_eq!(store.append(term, &entries(1..=1), &[], &[]).await.unwrap(), 1);
    let with_tls = "SELECT bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) \
        WHERE application_name = 'polder'";
    assert_eq!(postgres.sql("postgres", with_tls), "t");

    let place = trusting("other.pem", &other.cert.pem());
    let error = Store::open(&place.config("a")).await.unwrap_err();
    assert!(matches!(error, StoreError::DatabaseRefused { .. }), "{error:?}");
    assert!(error.to_string().contains("its TLS is not what `sslmode` and `sslrootcert` in its address ask for"));
}

#[tokio::test]
async fn coordinators_that_start_together_make_one_database() {
    let Some(place) = Place::postgres() else { return };
    let names: Vec<_> = (0..6).map(|n| format!("m{n}")).collect();
    let opened = names.iter().map(|name| {
        let config = place.config(name);
        tokio::spawn(async move { Store::open(&config).await })
    });
    let opened: Vec<_> = opened.collect();
    let mut stores = Vec::new();
    for opened in opened {
        stores.push(opened.await.unwrap().unwrap());
    }
    for (n, store) in stores.iter().enumerate() {
        let kept = store.meta_put_if_absent("ca", names[n].as_bytes()).await.unwrap();
        assert_eq!(kept, names[0].as_bytes());
    }
}

#[tokio::test]
async fn a_server_whose_disk_is_full_is_waited_for() {
    let Some(place) = Place::postgres() else { return };
    let (store, term) = place.leading("a").await;
    store.append(term, &entries(1..=1), &[], &[]).await.unwrap();
    // The server's own words for it, from a trigger instead of a disk.
    place
        .sql(
            "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
             RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = '53100'; END $$; \
             CREATE TRIGGER full_disk BEFORE INSERT ON journal FOR EACH ROW EXECUTE FUNCTION full_disk()",
        )
        .await;
    for _ in 0..3 {
        let error = store.append(term, &entries(2..=3), &[line(None, "x")], &[]).await.unwrap_err();
        assert!(matches!(error, StoreError::Full { .. }) && error.is_passing(), "{error:?}");
        assert!(error.to_string().starts_with("no space is left: the journal could not be written"), "{error}");
    }
    place.sql("DROP TRIGGER full_disk ON journal").await;
    assert_eq!(store.append(term, &entries(2..=3), &[line(None, "x")], &[]).await.unwrap(), 3);
    assert_eq!(replayed(&store, 1).await, recorded(1..=3));
    assert_eq!(told(&store).await, ["x"]);
}

#[tokio::test]
async fn a_lease_is_not_lost_behind_a_long_read_or_write() {
    let Some(place) = Place::postgres() else { return };
    let (store, term) = place.leading("a").await;
    store.append(term, &entries(1..=1), &[], &[]).await.unwrap();
    let database = place.config("a").database.unwrap();
    let mut other = <sqlx::PgConnection as sqlx::Connection>::connect(&database).await.unwrap();
    // What the read wants is locked; what the write wants is taken, so that it waits in the middle of its transaction.
    let hold = "BEGIN; INSERT INTO journal (seq, at_ms, epoch, kind, event) VALUES (2, 0, 0, '', ''); \
        LOCK TABLE snapshot IN ACCESS EXCLUSIVE MODE";
    sqlx::raw_sql(hold).execute(&mut other).await.unwrap();
    let store = std::sync::Arc::new(store);
    let read = tokio::spawn({
        let store = store.clone();
        async move { store.latest_snapshot().await }
    });
    let write = tokio::spawn({
        let store = store.clone();
        async move { store.append(term, &entries(2..=2), &[], &[]).await }
    });
    until_waiting(&database, 2).await;
    for _ in 0..5 {
        assert!(store.renew(term, Duration::from_secs(3)).await.unwrap());
        store.announce(&member("a")).await.unwrap();
    }
    sqlx::raw_sql("ROLLBACK").execute(&mut other).await.unwrap();
    assert_eq!(write.await.unwrap().unwrap(), 2);
    assert_eq!(read.await.unwrap().unwrap(), None);
}
