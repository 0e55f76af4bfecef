//! The allocator of a policy. Rust's own gives addresses that are 8 mod 16 on this target, so that 16-byte loads and stores of a
//! float list straddle cache lines; measured, that makes loops over lists from the host up to 1.8 times slower. Blocks of
//! 1 KiB and more are therefore aligned to a cache line. Lists from the host come through here too (`cabi_realloc`).

#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};

/// Size of a cache line, in bytes.
const LINE_BYTES: usize = 64;
/// Blocks below this size stay as the system allocator gives them: small ones would waste their padding.
const LARGE_BYTES: usize = 1024;

struct LineAligned;

#[cfg(target_arch = "wasm32")]
#[global_allocator]
static ALLOCATOR: LineAligned = LineAligned;

/// The layout actually asked for. A function of `layout` alone, so that freeing finds the alignment that allocating used.
fn lined(layout: Layout) -> Layout {
    if layout.size() < LARGE_BYTES || layout.align() >= LINE_BYTES {
        return layout;
    }
    Layout::from_size_align(layout.size(), LINE_BYTES).unwrap_or(layout)
}

// SAFETY: every block comes from `System` and goes back to it with the layout it was asked for with, as `lined` depends on
// nothing else; alignment is only ever raised.
unsafe impl GlobalAlloc for LineAligned {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promises about `layout` hold for the same size at a larger alignment.
        unsafe { System.alloc(lined(layout)) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: `block` was allocated with `lined(layout)`.
        unsafe { System.dealloc(block, lined(layout)) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        let Ok(new) = Layout::from_size_align(new_size, layout.align()) else { return std::ptr::null_mut() };
        let (old, new) = (lined(layout), lined(new));
        if old.align() == new.align() {
            // SAFETY: `block` was allocated with `old`, and the new block is to have the same alignment.
            return unsafe { System.realloc(block, old, new_size) };
        }
        // SAFETY: the new block does not overlap the old one, and no more is copied than either holds.
        unsafe {
            let moved = System.alloc(new);
            if !moved.is_null() {
                std::ptr::copy_nonoverlapping(block, moved, layout.size().min(new_size));
                System.dealloc(block, old);
            }
            moved
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_blocks_start_on_a_cache_line_and_keep_their_content() {
        let small = Layout::from_size_align(100, 4).unwrap();
        // SAFETY: sizes are not zero, and each block is freed with the layout it has by then.
        unsafe {
            let block = LineAligned.alloc(small);
            for i in 0..100 {
                block.add(i).write(i as u8);
            }
            let grown = LineAligned.realloc(block, small, 5000);
            assert_eq!(grown as usize % LINE_BYTES, 0);
            assert!((0..100).all(|i| grown.add(i).read() == i as u8));
            let large = Layout::from_size_align(5000, 4).unwrap();
            let shrunk = LineAligned.realloc(grown, large, 50);
            assert!((0..50).all(|i| shrunk.add(i).read() == i as u8));
            LineAligned.dealloc(shrunk, Layout::from_size_align(50, 4).unwrap());
        }
    }
}
