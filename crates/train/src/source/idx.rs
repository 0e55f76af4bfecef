//! IDX, the format of MNIST: a big-endian header (magic number, then one size per dimension) and plain bytes.

use std::io::Read;
use std::path::Path;

use super::file::{self, Bounded};
use super::{DataError, DataFault, Limits};
use crate::dataset::DataSet;

/// Unsigned bytes in three dimensions: images, rows, columns.
const IMAGES: Magic = Magic { number: 0x0000_0803, dimensions: 3, holds: "images of unsigned bytes" };
/// Unsigned bytes in one dimension.
const LABELS: Magic = Magic { number: 0x0000_0801, dimensions: 1, holds: "labels of unsigned bytes" };

struct Magic {
    number: u32,
    dimensions: usize,
    holds: &'static str,
}

/// Reads a pair of files. Features are grey values from 0 to 1.
pub(super) fn read(images_path: &Path, labels_path: &Path, limits: &Limits) -> Result<DataSet, DataError> {
    let (sizes, pixels) = read_file(images_path, &IMAGES, limits).map_err(|fault| fault.at(images_path))?;
    let (_, labels) = read_file(labels_path, &LABELS, limits).map_err(|fault| fault.at(labels_path))?;
    let (images, feature_count) = (sizes[0], sizes[1..].iter().product());
    if images != labels.len() {
        let (labels, labels_path) = (labels.len(), labels_path.to_owned());
        return Err(DataFault::IdxCounts { images, labels, labels_path }.at(images_path));
    }
    let features = pixels.into_iter().map(|pixel| f32::from(pixel) / 255.0).collect();
    let labels: Vec<u32> = labels.into_iter().map(u32::from).collect();
    // The files do not say how many classes there are; one alone would be no classification.
    let classes = labels.iter().max().map_or(2, |highest| (*highest as usize + 1).max(2));
    DataSet::new(features, labels, feature_count, classes).map_err(|error| DataFault::Contents(error).at(images_path))
}

/// The sizes in the header and the bytes after it.
fn read_file(path: &Path, magic: &Magic, limits: &Limits) -> Result<(Vec<usize>, Vec<u8>), DataFault> {
    let mut reader = file::open(path, limits)?;
    let header_bytes = 4 * (1 + magic.dimensions);
    let header = read_up_to(&mut reader, header_bytes as u64)?;
    let mut words = header.chunks_exact(4).map(|word| u32::from_be_bytes([word[0], word[1], word[2], word[3]]));
    match words.next() {
        Some(found) if found != magic.number => {
            return Err(DataFault::IdxMagic { found, expected: magic.number, holds: magic.holds });
        }
        _ if header.len() < header_bytes => {
            return Err(DataFault::IdxTruncated { expected: header_bytes as u64, found: header.len() as u64 });
        }
        _ => {}
    }
    let sizes: Vec<usize> = words.map(|size| size as usize).collect();
    let values = sizes.iter().try_fold(1_usize, |product, size| product.checked_mul(*size)).unwrap_or(usize::MAX);
    if values > limits.values_max {
        return Err(DataFault::TooManyValues { values, max: limits.values_max });
    }
    // One more than promised is asked for, to notice what should not be there. Memory grows with what is really there.
    let bytes = read_up_to(&mut reader, values as u64 + 1)?;
    let expected = (header_bytes + values) as u64;
    match bytes.len() {
        found if found < values => Err(DataFault::IdxTruncated { expected, found: (header_bytes + found) as u64 }),
        found if found > values => Err(DataFault::IdxTooLong { expected }),
        _ => Ok((sizes, bytes)),
    }
}

fn read_up_to(reader: &mut Bounded, count: u64) -> Result<Vec<u8>, DataFault> {
    let mut bytes = Vec::new();
    match reader.by_ref().take(count).read_to_end(&mut bytes) {
        Ok(_) => Ok(bytes),
        Err(error) => Err(reader.fault(error, 0)),
    }
}
