use super::*;

const HOSPITAL: &str = include_str!("../../../tests/hospital.schema.toml");

/// Reads `text` by the TOML `schema`.
fn read(text: impl AsRef<[u8]>, schema: &str) -> Result<DataSet, DataError> {
    let folder = Folder::new();
    let path = folder.file("x.csv", text);
    DataSource::csv(&path, Schema::from_toml(schema).unwrap()).load()
}

/// What is said about `text` when it is read with columns a, b and label y.
fn complaint(text: impl AsRef<[u8]>) -> String {
    message(&read(text, "[label]\ncolumn = \"y\"\nclasses = 3").unwrap_err())
}

#[test]
fn a_table_with_a_header_is_read_by_names() {
    let schema = "[label]\ncolumn = \"y\"\nclasses = [\"cat\", \"dog\"]\n[features]\ncolumns = [\"b\", \"a\"]";
    let data = read("a,y,b,note\n1, dog ,2e1,x\n-.5,cat,\"3\",\"y,\nz\"\n", schema).unwrap();
    assert_eq!(data.features(), [20.0, 1.0, 3.0, -0.5]);
    assert_eq!((data.labels(), data.classes()), (&[1, 0][..], 2));
}

#[test]
fn columns_can_be_dropped_scaled_and_separated_otherwise() {
    let schema =
        "delimiter = \";\"\nnormalise = { scale = 0.5 }\n[label]\ncolumn = 2\nclasses = 4\n[features]\ndrop = [\"b\"]";
    let data = read("a;b;c\n2;x;3\n4;y;0\n", schema).unwrap();
    assert_eq!((data.features(), data.labels()), (&[1.0, 2.0][..], &[3, 0][..]));
}

#[test]
fn kinds_become_features_without_the_first_level() {
    let schema = r#"
        [label]
        column = "y"
        threshold = 0.5
        [[categorical]]
        column = "a"
        levels = ["low", "mid", "high"]
        [[categorical]]
        column = "b"
        levels = [1, 2]
    "#;
    let data = read("a,b,y\nlow,2.0,0\nhigh,1,1\nmid,02,0.75", schema).unwrap();
    assert_eq!(data.features(), [0.0, 0.0, 1.0, 0.0, 1.0, 0.0, 1.0, 0.0, 1.0]);
    assert_eq!(data.labels(), [0, 1, 1]);
}

#[test]
fn a_hospital_is_read_as_its_readme_says() {
    // The last three rows lack something: chol is used, so its row goes; ca is dropped, so its row stays.
    let text = "63.0,1.0,1.0,145.0,233.0,1.0,2.0,150.0,0.0,2.3,3.0,0.0,6.0,0\n\
                67.0,1.0,4.0,160.0,286.0,0.0,2.0,108.0,1.0,1.5,2.0,3.0,3.0,2\n\
                41,0,2,130,204,0,1,172,0,1.4,1,0,3,1\n\
                29,1,2,140,?,0,0,170,0,0,?,?,?,0\n\
                35,0,3,120,250,0,0,160,1,0,?,?,?,3\n\
                60,1,4,132,218,0,1,140,1,1.5,3,?,?,?\n";
    let data = read(text, HOSPITAL).unwrap();
    assert_eq!((data.examples(), data.feature_count(), data.labels()), (4, 13, &[0, 1, 1, 1][..]));

    for feature in 0..13 {
        let column: Vec<f64> = (0..4).map(|row| f64::from(data.row(row).unwrap()[feature])).collect();
        let mean = column.iter().sum::<f64>() / 4.0;
        let variance = column.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / 4.0;
        assert!(mean.abs() < 1e-6 && (variance - 1.0).abs() < 1e-5, "{feature}: {column:?}");
    }
    // age, sex, cp = 2, 3, 4, trestbps, chol, fbs, restecg = 1, 2, thalach, exang, oldpeak
    let hot = |row: usize, feature: usize| data.row(row).unwrap()[feature] > 0.0;
    assert_eq!([2, 3, 4, 8, 9].map(|feature| hot(0, feature)), [false, false, false, false, true]);
    assert_eq!([2, 3, 4, 8, 9].map(|feature| hot(2, feature)), [true, false, false, true, false]);
}

#[test]
fn standardising_looks_at_the_training_part_alone() {
    let folder = Folder::new();
    let rows: String = (0..40).map(|row| format!("{},5,{}\n", row * row, row % 2)).collect();
    let path = folder.file("x.csv", rows);
    let schema = "header = false\nnormalise = \"standardise\"\n[label]\ncolumn = 2\nclasses = 2";
    let split = DataSource::csv(&path, Schema::from_toml(schema).unwrap()).load_split(0.25, 3).unwrap();
    let held_out = split.held_out.unwrap();
    assert_eq!((split.train.examples(), held_out.examples()), (30, 10));

    let mean = |set: &DataSet| (0..set.examples()).map(|row| set.row(row).unwrap()[0]).sum::<f32>();
    assert!(mean(&split.train).abs() < 1e-4 && mean(&held_out).abs() > 1e-2);
    // A constant has no deviation to divide by; it becomes 0 on both sides.
    assert!([&split.train, &held_out].iter().all(|set| (0..set.examples()).all(|row| set.row(row).unwrap()[1] == 0.0)));
}

#[test]
fn a_data_set_comes_back_from_its_files_bit_for_bit() {
    let folder = Folder::new();
    let features = vec![0.1, -3.4e38, f32::MIN_POSITIVE, 1e-45, 0.0, 16_777_217.0];
    let data = DataSet::new(features, vec![2, 0, 1], 2, 4).unwrap();
    for name in ["plain.csv", "packed.csv.gz"] {
        let path = folder.path().join(name);
        data.write_csv(&path).unwrap();
        assert_eq!(DataSource::open(&path).unwrap().load().unwrap(), data);
        let first = fs::read(&path).unwrap();
        data.write_csv(&path).unwrap();
        assert_eq!(fs::read(&path).unwrap(), first);
    }
    let error = data.write_csv(&folder.path().join("absent/x.csv")).unwrap_err();
    assert!(message(&error).contains("x.schema.toml: could not be written"), "{error}");
}

#[test]
fn faults_in_the_cells_name_line_and_column() {
    assert_eq!(complaint("a,b,y\n1,2,0\n1,two,0\n"), "x.csv: line 3, column \"b\": \"two\" is no finite number");
    assert_eq!(complaint("a,b,y\n1,nan,0\n"), "x.csv: line 2, column \"b\": \"nan\" is no finite number");
    assert_eq!(complaint("a,b,y\n1,1e39,0\n"), "x.csv: line 2, column \"b\": \"1e39\" is no finite number");
    assert_eq!(complaint("a,b,y\n1,2\n"), "x.csv: line 2: 2 columns instead of 3");
    assert_eq!(
        complaint("a,b,y\n1,2,0\n1,2,3\n"),
        "x.csv: line 3, column \"y\": \"3\" is no label; allowed is a whole number from 0 to 2"
    );
    assert_eq!(
        complaint("a,b,y\n1,2,0.5\n"),
        "x.csv: line 2, column \"y\": \"0.5\" is no label; allowed is a whole number from 0 to 2"
    );
    assert!(
        complaint("a,b,y\n1,,0\n").starts_with("x.csv: line 2, column \"b\": a value is missing; set `missing.policy")
    );
    assert!(complaint(b"a,b,y\n1,\xff\x1b[31m,0\n").contains("column \"b\": \"\u{fffd}\\u{1b}[31m\" is no finite"));
    let long = complaint(format!("a,b,y\n{},2,0\n", "9".repeat(500)));
    assert!(long.len() < 120 && long.contains("9…\""), "{long}");
}

#[test]
fn labels_and_levels_outside_the_schema_are_named() {
    let schema =
        "[label]\ncolumn = \"y\"\nclasses = [\"cat\", 7]\n[[categorical]]\ncolumn = \"a\"\nlevels = [1, \"x\"]";
    let label = message(&read("a,y\n1,cow\n", schema).unwrap_err());
    assert_eq!(label, "x.csv: line 2, column \"y\": \"cow\" is no label; allowed is \"cat\", 7");
    let level = message(&read("a,y\n2,cat\n", schema).unwrap_err());
    assert_eq!(level, "x.csv: line 2, column \"a\": \"2\" is none of the schema's levels 1, \"x\"");
}

#[test]
fn files_without_rows_are_refused() {
    assert_eq!(complaint(""), "x.csv: the file is empty");
    assert_eq!(complaint("\n\n"), "x.csv: the file is empty");
    assert_eq!(complaint("a,b,y\n"), "x.csv: no rows to learn from (0 were dropped because a value was missing)");
    let schema = "[label]\ncolumn = \"y\"\nclasses = 2\n[missing]\npolicy = \"drop-row\"";
    let dropped = message(&read("a,y\n,1\n1,\n", schema).unwrap_err());
    assert_eq!(dropped, "x.csv: no rows to learn from (2 were dropped because a value was missing)");
}

#[test]
fn columns_that_are_not_there_are_named_with_those_that_are() {
    assert_eq!(
        complaint("a,b,z\n1,2,0\n"),
        "x.csv: schema key `label.column` names column \"y\", which is not there; the columns are \"a\", \"b\", \"z\""
    );
    let cases = [
        (
            "header = false\n[label]\ncolumn = 9\nclasses = 2",
            "names column 9, which is not there; the columns are 0 to 2, without names",
        ),
        ("header = false\n[label]\ncolumn = \"y\"\nclasses = 2", "names column \"y\", which is not there"),
        ("[label]\ncolumn = \"y\"\nclasses = 2\n[features]\ndrop = [\"q\"]", "`features.drop` names column \"q\""),
        (
            "[label]\ncolumn = \"y\"\nclasses = 2\n[features]\ncolumns = [\"a\", 0]",
            "`features.columns`: column \"a\" is named twice",
        ),
        (
            "[label]\ncolumn = \"y\"\nclasses = 2\n[features]\ncolumns = [\"y\"]",
            "`features.columns`: column \"y\" is the label",
        ),
        (
            "[label]\ncolumn = \"y\"\nclasses = 2\n[features]\ndrop = [0, 1]",
            "`features`: no column is left to be a feature",
        ),
        (
            "[label]\ncolumn = \"y\"\nclasses = 2\n[[categorical]]\ncolumn = \"y\"\nlevels = [0, 1]",
            "`categorical.column`: column \"y\" is not among the features",
        ),
    ];
    for (schema, expected) in cases {
        let said = message(&read("a,b,y\n1,2,0\n", schema).unwrap_err());
        assert!(said.contains(expected), "{said}");
    }
    assert!(complaint("a,y,y\n1,0,0\n").contains("two columns of the header are called \"y\""));
}

#[test]
fn schemas_that_make_no_sense_are_refused() {
    let label = "[label]\ncolumn = 0\n";
    let cases = [
        (label.to_owned(), "`label`: needs `threshold`"),
        (format!("{label}threshold = 1\nclasses = 2"), "`label`: has both"),
        (format!("{label}threshold = nan"), "`label.threshold`"),
        (format!("{label}classes = 1"), "`label.classes`: must be 2 to 65536"),
        (format!("{label}classes = [\"only\"]"), "`label.classes`: must be 2 to 65536"),
        (format!("delimiter = \"é\"\n{label}classes = 2"), "`delimiter`: must be one ASCII character"),
        (format!("normalise = {{ scale = 0.0 }}\n{label}classes = 2"), "`normalise.scale`"),
        (format!("{label}classes = 2\n[features]\ncolumns = [1]\ndrop = [2]"), "`features`: has both"),
        (format!("{label}classes = 2\n[[categorical]]\ncolumn = 1\nlevels = [1]"), "`categorical.levels`"),
    ];
    for (text, expected) in cases {
        let said = Schema::from_toml(&text).unwrap_err().to_string();
        assert!(said.contains(expected), "{said}");
    }
    for text in [format!("{label}clases = 2"), format!("normalize = \"none\"\n{label}classes = 2")] {
        let error = Schema::from_toml(&text).unwrap_err();
        let cause = std::error::Error::source(&error).unwrap().to_string();
        assert!(cause.contains("unknown field"), "{cause}");
    }
}

#[test]
fn schemas_are_written_as_they_are_read() {
    let hospital = Schema::from_toml(HOSPITAL).unwrap();
    assert_eq!(Schema::from_toml(&hospital.to_toml()).unwrap(), hospital);
    let json = serde_json::to_string(&hospital).unwrap();
    assert_eq!(Schema::from_json(&json).unwrap(), hospital);
    assert!(matches!(Schema::from_json("{}"), Err(DataFault::SchemaJson(_))));
}

#[test]
fn damaged_and_mislabelled_compression_is_told_apart() {
    let folder = Folder::new();
    let schema = || Schema::from_toml("[label]\ncolumn = \"y\"\nclasses = 3").unwrap();
    let load = |name: &str, bytes: &[u8]| DataSource::csv(folder.file(name, bytes), schema()).load();

    let packed = gzip(b"a,y\n1,0\n2,1\n");
    assert_eq!(load("x.csv.gz", &packed).unwrap().labels(), [0, 1]);
    // Compressed under a plain name is read all the same.
    assert_eq!(load("x.csv", &packed).unwrap().labels(), [0, 1]);

    let plain = message(&load("x.csv.gz", b"a,y\n1,0\n").unwrap_err());
    assert_eq!(plain, "x.csv.gz: is named .gz but is not compressed with gzip; rename or compress it");
    let cut = load("x.csv.gz", &packed[..packed.len() - 5]).unwrap_err();
    assert!(matches!(cut.fault, DataFault::Gzip(_)), "{cut:?}");
    let mut damaged = packed.clone();
    let checksum = damaged.len() - 6;
    damaged[checksum] ^= 0xff;
    assert!(matches!(load("x.csv.gz", &damaged).unwrap_err().fault, DataFault::Gzip(_)));
}

#[test]
fn nothing_is_read_beyond_the_limits() {
    let folder = Folder::new();
    let load = |text: &[u8], values_max| {
        let limits = Limits { file_bytes_max: 100_000, record_bytes_max: 20_000, values_max };
        let schema = Schema::from_toml("[label]\ncolumn = \"y\"\nclasses = 3").unwrap();
        DataSource::csv(folder.file("x.csv", text), schema).with_limits(limits).load().unwrap_err().fault
    };
    let bomb = gzip(format!("a,y\n{}", "1,0\n".repeat(1_000_000)).as_bytes());
    assert!(matches!(load(&bomb, usize::MAX), DataFault::FileTooLarge { max: 100_000 }));
    let open_quote = format!("a,y\n1,0\n\"{}", "1,0\n".repeat(15_000));
    assert!(matches!(load(open_quote.as_bytes(), 1000), DataFault::RecordTooLong { line: 3, max: 20_000 }));
    let many = format!("a,y\n{}", "1,0\n".repeat(1001));
    assert!(matches!(load(many.as_bytes(), 1000), DataFault::TooManyValues { values: 1001, max: 1000 }));
}

proptest! {
    #[test]
    fn hostile_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300), packed: bool) {
        let bytes = if packed { gzip(&bytes) } else { bytes };
        if let Ok(data) = read(&bytes, "header = false\n[label]\ncolumn = 0\nthreshold = 1") {
            prop_assert!(data.features().iter().all(|value| value.is_finite()));
        }
    }

    #[test]
    fn hostile_tables_are_read_or_refused(text in "[0-9a-z.,;\"\n?+-]{0,200}", schema in 0..3_usize) {
        let schemas = [
            HOSPITAL,
            "[label]\ncolumn = 0\nclasses = 3",
            "header = false\ndelimiter = \";\"\n[label]\ncolumn = 1\nclasses = [\"a\", 1]\n[missing]\npolicy = \"drop-row\"",
        ];
        if let Ok(data) = read(&text, schemas[schema]) {
            prop_assert!(data.labels().iter().all(|label| (*label as usize) < data.classes()));
        }
    }

    #[test]
    fn hostile_schemas_are_read_or_refused(text in "[a-z=\\[\\]{}\"0-9.\n -]{0,120}") {
        if let Ok(schema) = Schema::from_toml(&text) {
            let _ = read("a,b,y\n1,2,0\n", &schema.to_toml());
        }
    }
}
