use std::error::Error;

use super::*;

fn raw(data: &[&str]) -> RawConfig {
    RawConfig { dir: "/x".into(), data: data.iter().map(ToString::to_string).collect(), ..RawConfig::default() }
}

fn refusal(raw: RawConfig) -> String {
    let error = Config::try_from(raw).unwrap_err();
    error.source().map_or_else(|| error.to_string(), |cause| format!("{error}: {cause}"))
}

#[test]
fn data_sets_have_names_and_maybe_paths() {
    let config = Config::try_from(raw(&["digits=/data/a=b.csv", "numbers"])).unwrap();
    assert_eq!(config.datasets["digits"], Some(PathBuf::from("/data/a=b.csv")));
    assert_eq!(config.datasets["numbers"], None);
    assert_eq!(config.slots, 1);
}

#[test]
fn what_cannot_be_a_configuration_is_refused_with_the_way_to_write_it() {
    assert!(refusal(raw(&[])).contains("--data NAME=PATH"));
    assert!(refusal(raw(&["digits="])).contains("write `--data NAME=PATH`"));
    assert!(refusal(raw(&["=x.csv"])).contains("write `--data NAME=PATH`"));
    assert!(refusal(raw(&["Digits=x.csv"])).contains("`Digits` cannot name a data set"));
    assert!(refusal(raw(&["a=x", "a=y"])).contains("names `a` twice"));
    assert!(refusal(RawConfig { slots: Some(0), ..raw(&["a=x"]) }).contains("use 1 to 1024"));
    assert!(refusal(RawConfig { name: Some("EU".into()), ..raw(&["a=x"]) }).contains("`EU` is not a worker name"));
    assert!(refusal(RawConfig { region: Some("E U".into()), ..raw(&["a=x"]) }).contains("is not a region name"));
    assert!(refusal(RawConfig { join: Some("polder".into()), ..raw(&["a=x"]) }).contains("is not a join token"));
    assert!(refusal(RawConfig { endpoint: Some("nowhere".into()), ..raw(&["a=x"]) }).contains("write `host:port`"));
    let long = RawConfig { region: Some("e".repeat(63)), ..raw(&["a=x"]) };
    assert!(refusal(long).contains("`--name` cannot be used"));
}

#[test]
fn a_worker_without_a_name_gets_one_from_its_region_or_its_token() {
    let fingerprint = polder_security::Fingerprint::from_bytes([7; 32]);
    let token = JoinToken::generate("localhost:7400".parse().unwrap(), fingerprint).unwrap();
    let mut config = Config::new("/x");
    assert_eq!(config.name_for(&token).unwrap().as_str(), format!("worker-{}", token.id));
    config.region = Some(Region::new("eu-west").unwrap());
    assert_eq!(config.name_for(&token).unwrap().as_str(), "eu-west-1");
    config.name = Some(WorkerName::new("ada").unwrap());
    assert_eq!(config.name_for(&token).unwrap().as_str(), "ada");
}

#[test]
fn what_a_region_decides_is_checked_before_anything_else_happens() {
    let allow = |text: &str| RawConfig { allow_aggregation: vec![text.into()], ..raw(&["a=x"]) };
    assert!(refusal(allow("nothing")).contains("`--allow-aggregation nothing`"));
    assert!(refusal(RawConfig { release: Some("nothing".into()), ..raw(&["a=x"]) }).contains("`--release nothing`"));
    let no_object = RawConfig { release_parameters: Some("7".into()), ..raw(&["a=x"]) };
    assert!(refusal(no_object).contains("`--release-parameters` is no JSON object"));
    let config = Config::try_from(RawConfig { release: Some("mine/release.wasm".into()), ..allow("fedavg") }).unwrap();
    assert_ne!(config.allow_list, AllowList::default());
}
