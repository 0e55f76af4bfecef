//! Bytes read as a recipe, and bytes laid out as a guest's answer.

/// Largest state and memo, in bytes, as the contract says.
pub(crate) const STATE_BYTES_MAX: u32 = 65_536;

/// The input, piece by piece; zeros once it is used up.
pub(crate) struct Source<'a>(pub(crate) &'a [u8]);

impl Source<'_> {
    pub(crate) fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    pub(crate) fn below(&mut self, count: u32) -> u32 {
        u32::from(self.byte()) % count
    }

    pub(crate) fn is(&mut self, one_in: u32) -> bool {
        self.below(one_in) == 1
    }

    pub(crate) fn word(&mut self) -> u32 {
        u32::from_le_bytes([self.byte(), self.byte(), self.byte(), self.byte()])
    }

    /// Mostly a weight as it should be.
    pub(crate) fn float(&mut self) -> f32 {
        match self.byte() {
            250 => f32::NAN,
            251 => f32::INFINITY,
            252 => -1.0,
            253 => -0.0,
            254 => f32::MIN_POSITIVE / 2.0,
            255 => f32::from_bits(self.word()),
            byte => f32::from(byte) / 64.0,
        }
    }

    pub(crate) fn double(&mut self) -> f64 {
        match self.byte() {
            255 => f64::from_bits(u64::from(self.word()) << 32 | u64::from(self.word())),
            254 => f64::NEG_INFINITY,
            _ => f64::from(self.float()),
        }
    }

    pub(crate) fn floats(&mut self, count: u32) -> Vec<f32> {
        (0..count).map(|_| self.float()).collect()
    }

    /// Lists that are mostly as long as they should be.
    pub(crate) fn lists(&mut self, lists: u32, right: u32) -> Vec<Vec<f32>> {
        let mut list = || {
            let count = self.count(right);
            self.floats(count)
        };
        (0..lists).map(|_| list()).collect()
    }

    /// Mostly `right`.
    pub(crate) fn count(&mut self, right: u32) -> u32 {
        if self.is(16) { self.below(7) } else { right }
    }

    pub(crate) fn state_len(&mut self) -> u32 {
        if self.is(16) { STATE_BYTES_MAX - 2 + self.below(4) } else { self.below(40) }
    }
}

/// What the guest's memory holds from [`Image::BASE`] on: the answer's record, then what its lists point to.
pub(crate) struct Image(pub(crate) Vec<u8>);

impl Image {
    const BASE: u32 = 0x10_0000;

    pub(crate) fn new(record_bytes: usize) -> Self {
        Self(vec![0; record_bytes])
    }

    pub(crate) fn put(&mut self, at: usize, bytes: &[u8]) {
        self.0[at..at + bytes.len()].copy_from_slice(bytes);
    }

    pub(crate) fn word(&mut self, at: usize, value: u32) {
        self.put(at, &value.to_le_bytes());
    }

    pub(crate) fn flag(&mut self, at: usize, value: bool) {
        self.put(at, &[u8::from(value)]);
    }

    /// A number that may be there, with its value eight bytes on.
    pub(crate) fn option(&mut self, at: usize, value: Option<f64>) {
        self.flag(at, value.is_some());
        self.put(at + 8, &value.unwrap_or_default().to_le_bytes());
    }

    pub(crate) fn list(&mut self, at: usize, content: &[u8], count: u32) {
        self.0.resize(self.0.len().next_multiple_of(8), 0);
        let address = Self::BASE + self.0.len() as u32;
        self.0.extend(content);
        self.word(at, address);
        self.word(at + 4, count);
    }

    pub(crate) fn floats(&mut self, at: usize, values: &[f32]) {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.list(at, &bytes, values.len() as u32);
    }

    pub(crate) fn lists_of_floats(&mut self, at: usize, lists: &[Vec<f32>]) {
        self.list(at, &vec![0; lists.len() * 8], lists.len() as u32);
        let first = self.0.len() - lists.len() * 8;
        lists.iter().enumerate().for_each(|(index, list)| self.floats(first + index * 8, list));
    }

    /// Bytes of whatever lies there: only their number matters.
    pub(crate) fn bytes(&mut self, at: usize, count: u32) {
        self.word(at, Self::BASE);
        self.word(at + 4, count);
    }

    /// Perhaps overwrites some bytes; tells whether it may have.
    pub(crate) fn corrupt(&mut self, source: &mut Source<'_>) -> bool {
        if !source.is(4) {
            return false;
        }
        for _ in 0..=source.below(6) {
            let at = source.word() as usize % self.0.len();
            self.0[at] = source.byte();
        }
        true
    }

    /// As parameters that the echo turns back into bytes.
    pub(crate) fn letters(&self) -> String {
        self.0.iter().flat_map(|byte| [byte >> 4, byte & 15]).map(|half| char::from(b'a' + half)).collect()
    }
}
