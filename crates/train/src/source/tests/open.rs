use super::*;

const SCHEMA: &str = "[label]\ncolumn = \"y\"\nclasses = 2";
const TABLE: &str = "a,y\n1,0\n";

fn refusal(path: &Path) -> DataFault {
    DataSource::open(path).unwrap_err().fault
}

#[test]
fn what_is_missing_is_said() {
    let folder = Folder::new();
    assert!(matches!(refusal(&folder.path().join("absent")), DataFault::Missing));
    assert!(matches!(refusal(folder.path()), DataFault::NoDataSet));

    let images = folder.file("x-images-idx3-ubyte", "");
    let said = message(&DataSource::open(&images).unwrap_err());
    assert!(said.contains("there is no x-labels-idx1-ubyte (nor with .gz)"), "{said}");

    let table = folder.file("x.csv.gz", gzip(TABLE.as_bytes()));
    let said = message(&DataSource::open(&table).unwrap_err());
    assert!(said.contains("put one of x.schema.toml, x.schema.json, schema.toml, schema.json beside it"), "{said}");
}

#[test]
fn a_file_that_vanishes_after_opening_is_missing() {
    let folder = Folder::new();
    folder.file("schema.toml", SCHEMA);
    let source = DataSource::open(&folder.file("x.csv", TABLE)).unwrap();
    fs::remove_file(source.path()).unwrap();
    assert!(matches!(source.load().unwrap_err().fault, DataFault::Missing));
}

#[test]
fn the_nearest_schema_counts() {
    let folder = Folder::new();
    let table = folder.file("x.csv.gz", gzip(TABLE.as_bytes()));
    let classes = || DataSource::open(&table).unwrap().load().unwrap().classes();
    folder.file("schema.toml", SCHEMA);
    assert_eq!(classes(), 2);
    folder.file("x.schema.json", "{\"label\": {\"column\": \"y\", \"classes\": 3}}");
    assert_eq!(classes(), 3);
    folder.file("x.schema.toml", SCHEMA.replace('2', "4"));
    assert_eq!(classes(), 4);
}

#[test]
fn a_file_of_any_name_is_csv() {
    let folder = Folder::new();
    folder.file("schema.toml", SCHEMA);
    let source = DataSource::open(&folder.file("processed.cleveland.data", TABLE)).unwrap();
    assert_eq!(source.load().unwrap().examples(), 1);
    assert!(format!("{source:?}").starts_with("DataSource(csv "));
}

#[test]
fn a_folder_with_one_data_set_stands_for_it() {
    let folder = Folder::new();
    folder.file("schema.toml", SCHEMA);
    folder.file("x.csv", TABLE);
    assert_eq!(DataSource::open(folder.path()).unwrap().path(), folder.path().join("x.csv"));

    folder.file("x-images-idx3-ubyte.gz", "");
    match refusal(folder.path()) {
        DataFault::ManyDataSets { found } => assert_eq!(found, "x-images-idx3-ubyte.gz, x.csv"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_faulty_schema_is_named() {
    let folder = Folder::new();
    let table = folder.file("x.csv", TABLE);
    let schema = folder.file("x.schema.toml", "[label]\ncolumn = 0\nclases = 2");
    let error = DataSource::open(&table).unwrap_err();
    assert_eq!(error.path, schema);
    let said = message(&error);
    assert!(said.contains("has unknown keys: ") && said.contains("line 3") && said.contains("`clases`"), "{said}");

    folder.file("x.schema.toml", " ".repeat(2 << 20));
    assert!(matches!(refusal(&table), DataFault::FileTooLarge { .. }));
    folder.file("x.schema.toml", b"\xff");
    assert!(matches!(refusal(&table), DataFault::Read(_)));
}

#[cfg(target_os = "linux")]
#[test]
fn a_device_is_no_data_set() {
    assert!(matches!(refusal(Path::new("/dev/zero")), DataFault::Special));
}
