use std::fs;

use proptest::prelude::*;
use proptest::sample::Index;
use x509_parser::extensions::{GeneralName, ParsedExtension};

use super::*;
use crate::credentials::KeyRequest;
use crate::testing::{HOUR, TestAuthority, chain, days_ago, days_ahead, greedy_request, now, operator, worker};

#[test]
fn an_authority_is_made_once_and_opened_after() {
    let world = TestAuthority::new();
    let again = CertificateAuthority::create_or_open(world.dir.path(), now()).unwrap();
    assert_eq!(again.fingerprint(), world.authority.fingerprint());
    let other = TestAuthority::new();
    assert_ne!(other.authority.fingerprint(), world.authority.fingerprint());
    // What the reopened one signs, the first one's certificate vouches for.
    let issued = again.issue_client(&worker("eu", "w"), now(), HOUR).unwrap();
    assert_eq!(issued.fingerprint(), world.authority.fingerprint());
}

fn cluster_key(dir: &Path, digit: &str) -> ClusterKey {
    use std::os::unix::fs::PermissionsExt;

    let path = dir.join("cluster-key");
    fs::write(&path, format!("{}{}", "01".repeat(31), digit.repeat(2))).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    ClusterKey::load(&path).unwrap()
}

#[test]
fn coordinators_with_one_key_share_a_sealed_authority() {
    let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let key = cluster_key(first.path(), "2");
    let sealed = CertificateAuthority::sealed(first.path(), &key, now()).unwrap();
    let opened = CertificateAuthority::open_sealed(first.path(), &key, &sealed).unwrap();
    let elsewhere = CertificateAuthority::open_sealed(second.path(), &key, &sealed).unwrap();
    assert_eq!(opened.fingerprint(), elsewhere.fingerprint());
    let issued = elsewhere.issue_client(&worker("eu", "w"), now(), HOUR).unwrap();
    assert_eq!(issued.fingerprint(), opened.fingerprint());

    let other = cluster_key(second.path(), "3");
    let refusal = chain(&CertificateAuthority::open_sealed(second.path(), &other, &sealed).unwrap_err());
    assert!(refusal.contains("the key file that the federation's other coordinators have"), "{refusal}");
    let garbage = key.seal(SEALED_FOR, b"garbage").unwrap();
    let refusal = chain(&CertificateAuthority::open_sealed(second.path(), &key, &garbage).unwrap_err());
    assert!(refusal.contains("restore the database"), "{refusal}");
}

#[test]
fn a_single_coordinators_authority_is_adopted_and_another_ones_refused() {
    let (world, other) = (TestAuthority::new(), TestAuthority::new());
    let key = cluster_key(world.dir.path(), "2");
    let sealed = CertificateAuthority::sealed(world.dir.path(), &key, now()).unwrap();
    let opened = CertificateAuthority::open_sealed(world.dir.path(), &key, &sealed).unwrap();
    assert_eq!(opened.fingerprint(), world.authority.fingerprint());
    let refusal = CertificateAuthority::open_sealed(other.dir.path(), &key, &sealed).unwrap_err();
    assert!(matches!(refusal, AuthorityError::Foreign { .. }), "{refusal}");
}

#[test]
fn a_damaged_authority_is_never_replaced() {
    let (world, other) = (TestAuthority::new(), TestAuthority::new());
    let path = world.dir.path().join(AUTHORITY_FILE);
    let good = fs::read_to_string(&path).unwrap();
    let other = fs::read_to_string(other.dir.path().join(AUTHORITY_FILE)).unwrap();
    let key_at = good.find("-----BEGIN PRIVATE").unwrap();
    let other_key_at = other.find("-----BEGIN PRIVATE").unwrap();
    let leaf = rcgen::generate_simple_self_signed(["x".into()]).unwrap();
    let leaf = leaf.cert.pem() + &leaf.signing_key.serialize_pem();
    let cases = [
        ("", "holds 0 and 0"),
        (&good[..key_at], "holds 1 and 0"),
        (&good[..good.len() - 40], "holds 1 and 0"),
        (&format!("{}{}", &good[..key_at], &other[other_key_at..]), "not the key of its certificate"),
        (&leaf, "not a CA certificate"),
    ];
    for (text, expected) in cases {
        fs::write(&path, text).unwrap();
        let refusal = chain(&CertificateAuthority::create_or_open(world.dir.path(), now()).unwrap_err());
        assert!(refusal.contains(expected) && refusal.contains("restore it from a backup"), "{refusal}");
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
    }
}

#[test]
fn certificates_say_what_we_say_and_nothing_that_was_asked_for() {
    let world = TestAuthority::new();
    let key = KeyPair::generate().unwrap();
    let request = CertificateRequest::verify(&greedy_request(&key)).unwrap();
    let der = world.authority.sign_request(&request, &worker("eu-west", "w1"), now(), HOUR).unwrap();
    let certificate = certificate::parse(&der).unwrap();
    assert_eq!(certificate.public_key().raw, key.subject_public_key_info());
    assert_eq!(certificate.subject().iter().count(), 0, "the subject names somebody");
    let names = &certificate.subject_alternative_name().unwrap().unwrap().value.general_names;
    assert_eq!(names[..], [GeneralName::URI("polder://worker/eu-west/w1")]);
    assert!(!certificate.is_ca());
    for extension in certificate.extensions() {
        if let ParsedExtension::ExtendedKeyUsage(usage) = extension.parsed_extension() {
            assert!(usage.client_auth && !usage.server_auth && !usage.any);
        }
    }
    assert!(certificate.extended_key_usage().unwrap().is_some());
    assert_eq!(certificate.raw_serial().len(), 20);
    assert!(certificate.tbs_certificate.serial.bits() > 150, "the serial number is not random");
}

#[test]
fn validity_is_backdated_and_never_outlives_the_authority() {
    let world = TestAuthority::new();
    let at = Timestamp(1_900_000_000_000);
    let request = CertificateRequest::verify(KeyRequest::generate().unwrap().request()).unwrap();
    let der = world.authority.sign_request(&request, &operator("ada"), at, HOUR).unwrap();
    let validity = Validity::of(&certificate::parse(&der).unwrap());
    assert_eq!(validity.not_before, Timestamp(at.0 - 300_000));
    assert_eq!(validity.not_after, at.plus_ms(3_600_000));
    let end = world.authority.not_after;
    let issued = world.authority.issue_client(&operator("ada"), Timestamp(end.0 - 1000), HOUR).unwrap();
    assert_eq!(issued.expires_at(), end);
    let late = world.authority.issue_client(&operator("ada"), end, HOUR).unwrap_err();
    assert!(late.to_string().contains("authority expired"), "{late}");
    // Dates from the ends of time are errors, not panics.
    let dir = tempfile::tempdir().unwrap();
    let refusal = CertificateAuthority::create_or_open(&dir.path().join("ca"), Timestamp(u64::MAX)).unwrap_err();
    assert!(refusal.to_string().contains("out of range"), "{refusal}");
    assert!(CertificateAuthority::create_or_open(&dir.path().join("ca"), Timestamp(0)).is_ok());
}

#[test]
fn server_names_are_checked() {
    let world = TestAuthority::new();
    let issue = |names: &[&str]| {
        let names: Vec<String> = names.iter().map(|name| (*name).into()).collect();
        world.authority.issue_server(&names, now(), HOUR)
    };
    let issued = issue(&["coordinator.example", "127.0.0.1", "::1"]).unwrap();
    assert_eq!(*issued.identity(), Identity::Coordinator);
    for bad in [&["a b"][..], &[""], &["polder://coordinator"], &["ok", "x:1"]] {
        assert!(matches!(issue(bad), Err(AuthorityError::ServerName { .. })), "{bad:?}");
    }
    assert!(matches!(issue(&[]), Err(AuthorityError::ServerNames { count: 0 })));
    assert!(matches!(issue(&["x"; SERVER_NAMES_MAX + 1]), Err(AuthorityError::ServerNames { .. })));
}

#[test]
fn nobody_is_made_coordinator() {
    let world = TestAuthority::new();
    let request = CertificateRequest::verify(KeyRequest::generate().unwrap().request()).unwrap();
    let signed = world.authority.sign_request(&request, &Identity::Coordinator, now(), HOUR);
    assert!(matches!(signed, Err(AuthorityError::CoordinatorAsClient)));
    let issued = world.authority.issue_client(&Identity::Coordinator, now(), HOUR);
    assert!(matches!(issued, Err(AuthorityError::CoordinatorAsClient)));
}

#[test]
fn requests_must_be_signed_by_their_own_key() {
    let request = KeyRequest::generate().unwrap();
    let good = request.request().to_vec();
    let verified = CertificateRequest::verify(&good).unwrap();
    assert_eq!(verified.key_hash().len(), 64);
    assert_eq!(verified.key_hash(), CertificateRequest::verify(&good).unwrap().key_hash());

    let refusal = |der: &[u8]| CertificateRequest::verify(der).unwrap_err().to_string();
    // Another key in place of the one that signed: both are the same length, so the structure stays whole.
    let spki = |der: &[u8]| {
        SubjectPublicKeyInfo::from_der(
            X509CertificationRequest::from_der(der).unwrap().1.certification_request_info.subject_pki.raw,
        )
        .unwrap()
        .der_bytes()
        .to_vec()
    };
    let other = spki(KeyRequest::generate().unwrap().request());
    let at = good.windows(other.len()).position(|window| window == spki(&good)).unwrap();
    let mut stolen = good.clone();
    stolen[at..at + other.len()].copy_from_slice(&other);
    assert!(refusal(&stolen).contains("not signed by the key"), "{}", refusal(&stolen));

    let mut damaged = good.clone();
    *damaged.last_mut().unwrap() ^= 1;
    assert!(refusal(&damaged).contains("not signed by the key"));
    assert!(refusal(&[&good[..], b"x"].concat()).contains("something follows"));
    assert!(refusal(b"").contains("not a PKCS #10 request"));
    assert!(refusal(&vec![0x30; REQUEST_BYTES_MAX + 1]).contains("too long"));
}

#[test]
fn other_kinds_of_key_are_refused() {
    for algorithm in [&rcgen::PKCS_ED25519, &rcgen::PKCS_ECDSA_P384_SHA384] {
        let key = KeyPair::generate_for(algorithm).unwrap();
        let der = CertificateParams::default().serialize_request(&key).unwrap().der().to_vec();
        let refusal = CertificateRequest::verify(&der).unwrap_err().to_string();
        assert!(refusal.contains("P-256"), "{refusal}");
    }
}

#[test]
fn dates_in_the_past_and_future_can_be_issued() {
    let world = TestAuthority::new();
    assert!(world.authority.issue_client(&operator("ada"), days_ago(2), HOUR).unwrap().is_expired(now()));
    assert!(!world.authority.issue_client(&operator("ada"), days_ahead(2), HOUR).unwrap().is_expired(now()));
}

proptest! {
    /// A request from anybody: refused, or (where a byte does not matter) taken for the key that signed it. Never a
    /// panic.
    #[test]
    fn damaged_requests_are_survived(at in any::<Index>(), byte in any::<u8>(), cut in any::<Index>()) {
        let mut der = KeyRequest::generate().unwrap().request().to_vec();
        let key_hash = CertificateRequest::verify(&der).unwrap().key_hash();
        prop_assert!(CertificateRequest::verify(&der[..cut.index(der.len())]).is_err());
        let at = at.index(der.len());
        der[at] = byte;
        if let Ok(read) = CertificateRequest::verify(&der) {
            prop_assert_eq!(read.key_hash(), key_hash);
        }
    }
}
