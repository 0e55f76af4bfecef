use std::os::unix::fs::PermissionsExt;

use polder_security::Signer;

use super::*;

const KEY_PEM: &str = "-----BEGIN PRIVATE KEY-----\n\
    MC4CAQAwBQYDK2VwBCIEIOSMShH/1g18zJlqDPSdSzsJ5zUsxn4RKJNUwod/ijzR\n\
    -----END PRIVATE KEY-----\n";

fn list(texts: &[&str]) -> Result<AllowList, AllowListError> {
    AllowList::parse(&texts.iter().map(ToString::to_string).collect::<Vec<_>>())
}

fn policy(digest: Digest) -> PolicyRef {
    PolicyRef {
        name: "krum".parse().unwrap(),
        version: Some("2".parse().unwrap()),
        digest,
        parameters: "{}".into(),
        on_failure: polder_core::policy::OnFailure::default(),
        signature: None,
    }
}

fn fedavg() -> Digest {
    of_kind(PolicyKind::Aggregation).find(|builtin| builtin.name == "fedavg").unwrap().digest()
}

fn other() -> Digest {
    Digest::sha256([7; 32])
}

fn signer() -> Signer {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("key.pem");
    std::fs::write(&path, KEY_PEM).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    Signer::from_pem_file(&path).unwrap()
}

#[test]
fn an_empty_list_accepts_all_and_any_other_only_what_is_on_it() {
    assert_eq!(AllowList::default().admit(&policy(other())), Ok(()));
    assert_eq!(list(&[&other().to_string()]).unwrap().admit(&policy(other())), Ok(()));
    let of_ours = list(&["fedavg"]).unwrap();
    assert_eq!(of_ours.admit(&policy(fedavg())), Ok(()));
    let reason = of_ours.admit(&policy(other())).unwrap_err();
    assert!(reason.contains("krum@2 (sha256:0707") && reason.contains("accepts only fedavg@"), "{reason}");
    // A name says nothing: it is the bytes that count.
    let pretender = PolicyRef { name: "fedavg".parse().unwrap(), ..policy(other()) };
    assert!(of_ours.admit(&pretender).is_err());
}

#[test]
fn a_signer_on_the_list_vouches_for_what_it_signed() {
    let signer = signer();
    let trusted = list(&[&signer.signer()]).unwrap();
    let signed = PolicyRef { signature: Some(signer.sign(&other().to_string())), ..policy(other()) };
    assert_eq!(trusted.admit(&signed), Ok(()));

    let unsigned = trusted.admit(&policy(other())).unwrap_err();
    assert!(unsigned.contains(&format!("only what {} signed", signer.signer())), "{unsigned}");
    let borrowed = PolicyRef { digest: fedavg(), ..signed.clone() };
    assert!(trusted.admit(&borrowed).unwrap_err().contains("its signature is not one by"));
    let stranger = list(&[&format!("ed25519:{}", "00".repeat(32))]).unwrap();
    assert!(stranger.admit(&signed).unwrap_err().contains("it is signed by ed25519:a932"));
}

#[test]
fn what_can_be_no_entry_says_what_can() {
    let refusal = |text: &str| list(&[text]).unwrap_err().to_string();
    assert!(refusal("fedavg@99").contains("write one of") && refusal("fedavg@99").contains("fedavg"));
    assert!(refusal("least-loaded").contains("no aggregation policy of that name"));
    assert!(refusal("sha256:12").contains("`--allow-aggregation sha256:12`"));
    assert!(refusal("ed25519:12").contains("64 hexadecimal digits"));
    assert!(list(&["fedavg"; ALLOWED_MAX]).is_ok());
    assert!(list(&["fedavg"; ALLOWED_MAX + 1]).unwrap_err().to_string().contains("64 times at most"));
}

#[test]
fn a_reason_names_a_few_entries() {
    let digests: Vec<String> = (0..6).map(|byte| Digest::sha256([byte; 32]).to_string()).collect();
    let list = AllowList::parse(&digests).unwrap();
    assert!(list.to_string().ends_with("and 3 more"), "{list}");
    let reason = list.admit(&policy(other())).unwrap_err();
    assert!(reason.len() <= polder_core::policy::REASON_BYTES_MAX, "{} bytes", reason.len());
}
