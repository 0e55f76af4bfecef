use super::*;

/// The bytes of an IDX file with these sizes.
fn idx(magic: u32, sizes: &[u32], bytes: &[u8]) -> Vec<u8> {
    let mut file = magic.to_be_bytes().to_vec();
    file.extend(sizes.iter().flat_map(|size| size.to_be_bytes()));
    file.extend_from_slice(bytes);
    file
}

fn images() -> Vec<u8> {
    idx(0x803, &[2, 1, 3], &[0, 51, 255, 1, 2, 3])
}

fn labels() -> Vec<u8> {
    idx(0x801, &[2], &[4, 0])
}

/// Reads a folder with these two files in it.
fn read(images: impl AsRef<[u8]>, labels: impl AsRef<[u8]>) -> Result<DataSet, DataError> {
    let folder = Folder::new();
    folder.file("t10k-images-idx3-ubyte", images);
    folder.file("t10k-labels-idx1-ubyte", labels);
    DataSource::open(folder.path())?.load()
}

fn complaint(images: impl AsRef<[u8]>, labels: impl AsRef<[u8]>) -> String {
    message(&read(images, labels).unwrap_err())
}

#[test]
fn a_pair_is_read_plain_or_compressed() {
    let data = read(images(), labels()).unwrap();
    assert_eq!(data.features(), [0.0, 0.2, 1.0, 1.0 / 255.0, 2.0 / 255.0, 3.0 / 255.0]);
    assert_eq!((data.labels(), data.classes(), data.feature_count()), (&[4, 0][..], 5, 3));
    assert_eq!(read(gzip(&images()), gzip(&labels())).unwrap(), data);

    let folder = Folder::new();
    let path = folder.file("train-images-idx3-ubyte.gz", gzip(&images()));
    folder.file("train-labels-idx1-ubyte", labels());
    assert_eq!(DataSource::open(&path).unwrap().load().unwrap(), data);
}

#[test]
fn a_pair_is_split_by_its_seed() {
    let folder = Folder::new();
    folder.file("x-images-idx3-ubyte", idx(0x803, &[10, 1, 1], &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]));
    folder.file("x-labels-idx1-ubyte", idx(0x801, &[10], &[0, 1, 0, 1, 0, 1, 0, 1, 0, 1]));
    let source = DataSource::open(folder.path()).unwrap();
    let split = source.load_split(0.3, 1).unwrap();
    assert_eq!(split, source.load_split(0.3, 1).unwrap());
    assert_eq!((split.train.examples(), split.held_out.unwrap().examples()), (7, 3));
    assert!(matches!(source.load_split(1.5, 1).unwrap_err().fault, DataFault::Contents(_)));
}

#[test]
fn faults_name_the_file_and_what_was_expected() {
    assert_eq!(
        complaint(labels(), images()),
        "t10k-images-idx3-ubyte: IDX file: the first four bytes are 0x00000801; 0x00000803 is needed (images of unsigned bytes)"
    );
    assert_eq!(
        complaint(images(), images()),
        "t10k-labels-idx1-ubyte: IDX file: the first four bytes are 0x00000803; 0x00000801 is needed (labels of unsigned bytes)"
    );
    assert_eq!(
        complaint(&images()[..20], labels()),
        "t10k-images-idx3-ubyte: IDX file: cut short; its header promises 22 bytes, but there are 20"
    );
    assert_eq!(
        complaint(&images()[..9], labels()),
        "t10k-images-idx3-ubyte: IDX file: cut short; its header promises 16 bytes, but there are 9"
    );
    assert_eq!(
        complaint(images(), [labels(), vec![1]].concat()),
        "t10k-labels-idx1-ubyte: IDX file: more than the 10 bytes that its header promises"
    );
    assert_eq!(
        complaint(images(), idx(0x801, &[3], &[0, 1, 2])),
        "t10k-images-idx3-ubyte: IDX files: 2 images here, but 3 labels in t10k-labels-idx1-ubyte"
    );
    assert_eq!(complaint("", labels()), "t10k-images-idx3-ubyte: the file is empty");
    assert_eq!(
        complaint(idx(0x803, &[0, 28, 28], &[]), idx(0x801, &[0], &[])),
        "t10k-images-idx3-ubyte: a data set needs at least one example"
    );
}

#[test]
fn a_header_that_promises_too_much_is_refused_before_memory_is_taken() {
    let huge = idx(0x803, &[u32::MAX, u32::MAX, u32::MAX], &[0; 10]);
    assert!(matches!(read(huge, labels()).unwrap_err().fault, DataFault::TooManyValues { values: usize::MAX, .. }));
    // Within the limit, but not there: memory grows with what is.
    let absent = idx(0x803, &[1 << 20, 32, 32], &[0; 10]);
    assert!(matches!(read(absent, labels()).unwrap_err().fault, DataFault::IdxTruncated { .. }));
}

#[test]
fn a_cut_gzip_stream_is_no_data_set() {
    let packed = gzip(&images());
    assert!(matches!(read(&packed[..packed.len() - 9], labels()).unwrap_err().fault, DataFault::Gzip(_)));
}

proptest! {
    #[test]
    fn hostile_bytes_are_read_or_refused(
        sizes in prop::collection::vec(prop_oneof![0_u32..4, any::<u32>()], 0..4),
        bytes in prop::collection::vec(any::<u8>(), 0..40),
        cut in 0_usize..60,
        packed: bool,
    ) {
        let mut file = idx(0x803, &sizes, &bytes);
        file.truncate(cut);
        let file = if packed { gzip(&file) } else { file };
        if let Ok(data) = read(&file, labels()) {
            prop_assert_eq!(data.examples(), 2);
        }
        let _ = read(images(), &file);
    }
}
