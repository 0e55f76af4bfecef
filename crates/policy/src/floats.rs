//! Lists of floats across the border of the sandbox, with one copy each way.
//!
//! What wasmtime generates copies a `list<f32>` that a guest returns into a new `Vec`. A step returns several of them for every chunk, so
//! an aggregation would spend its time in the allocator: glibc maps and unmaps blocks of 128 KiB and more on every call, and trims
//! smaller ones at the end of its heap. Here they land where the caller wants them.
//!
//! wasmtime's traits have no place for a destination, so [`land`] leaves it with the thread for the time of one call.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::mem::MaybeUninit;

use wasmtime::ValRaw;
use wasmtime::component::__internal::{CanonicalAbiInfo, InstanceType, InterfaceType, LiftContext, LowerContext};
use wasmtime::component::{ComponentType, Lift, Lower};

/// Floats lent to a guest. Cells, as the guest's answer may land in them before the call is over.
#[derive(Clone, Copy)]
pub(crate) struct Lent<'a>(pub(crate) &'a [Cell<f32>]);

/// A list that a guest returned, by its length. Its values are where [`land`] was told to put them, if that is as long.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Landed {
    pub(crate) len: usize,
}

thread_local! {
    /// Where the lists of the call that is under way go, in the order in which they are read.
    static DESTINATIONS: RefCell<VecDeque<*const [Cell<f32>]>> = const { RefCell::new(VecDeque::new()) };
}

/// Makes a call whose returned lists of floats go to these places, in this order. One of another length goes nowhere.
pub(crate) fn land<R>(destinations: &[&[Cell<f32>]], call: impl FnOnce() -> R) -> R {
    /// Takes back what was not used, after a panic too: no pointer outlives what it points to.
    struct Withdrawn;

    impl Drop for Withdrawn {
        fn drop(&mut self) {
            DESTINATIONS.with_borrow_mut(VecDeque::clear);
        }
    }

    let _withdrawn = Withdrawn;
    DESTINATIONS.with_borrow_mut(|places| {
        places.clear();
        places.extend(destinations.iter().map(|place| std::ptr::from_ref::<[Cell<f32>]>(place)));
    });
    call()
}

/// Reads the list at `ptr` into the next destination. Nothing is read if that is of another length, so no lie about lengths costs.
fn lift(cx: &LiftContext<'_>, ptr: u32, len: u32) -> wasmtime::Result<Landed> {
    let (ptr, len) = (ptr as usize, len as usize);
    if !ptr.is_multiple_of(size_of::<f32>()) {
        return Err(wasmtime::Error::msg("list pointer is not aligned"));
    }
    let bytes = len.checked_mul(size_of::<f32>()).and_then(|bytes| cx.memory().get(ptr..)?.get(..bytes));
    let bytes = bytes.ok_or_else(|| wasmtime::Error::msg("list pointer/length out of bounds of memory"))?;
    if let Some(place) = DESTINATIONS.with_borrow_mut(VecDeque::pop_front) {
        // SAFETY: `land` borrows its destinations until the call is over, and takes these pointers back before it returns.
        #[allow(unsafe_code)]
        let place = unsafe { &*place };
        if place.len() == len {
            for (value, bytes) in place.iter().zip(bytes.as_chunks().0) {
                value.set(f32::from_le_bytes(*bytes));
            }
        }
    }
    Ok(Landed { len })
}

// SAFETY: everything that describes the type is that of `[f32]`, and so is what `lift` reads: a pointer and a length.
#[allow(unsafe_code)]
unsafe impl ComponentType for Landed {
    type Lower = <[f32] as ComponentType>::Lower;

    const ABI: CanonicalAbiInfo = <[f32] as ComponentType>::ABI;

    fn typecheck(ty: &InterfaceType, types: &InstanceType<'_>) -> wasmtime::Result<()> {
        <[f32] as ComponentType>::typecheck(ty, types)
    }
}

// SAFETY: as above; bounds and alignment are checked in `lift`.
#[allow(unsafe_code)]
unsafe impl Lift for Landed {
    fn linear_lift_from_flat(cx: &mut LiftContext<'_>, _: InterfaceType, src: &[ValRaw; 2]) -> wasmtime::Result<Self> {
        lift(cx, src[0].get_u32(), src[1].get_u32())
    }

    fn linear_lift_from_memory(cx: &mut LiftContext<'_>, _: InterfaceType, bytes: &[u8]) -> wasmtime::Result<Self> {
        match bytes.as_chunks().0 {
            [ptr, len] => lift(cx, u32::from_le_bytes(*ptr), u32::from_le_bytes(*len)),
            _ => Err(wasmtime::Error::msg("a list is a pointer and a length")),
        }
    }
}

// SAFETY: wasmtime wants this of all arguments, and a call that is not async lowers them on the thread that made it. In this crate, which
// it does not leave, `chunks` alone makes one, and only for the time of such a call.
#[allow(unsafe_code)]
unsafe impl Send for Lent<'_> {}
#[allow(unsafe_code)]
unsafe impl Sync for Lent<'_> {}

impl Lent<'_> {
    #[allow(unsafe_code)]
    fn values(&self) -> &[f32] {
        // SAFETY: `Cell<f32>` has the layout of `f32`, and nobody writes for as long as the reference lives: only the two functions
        // below make one, while wasmtime lowers arguments, and answers are lifted after that, on the same thread.
        unsafe { &*(std::ptr::from_ref::<[Cell<f32>]>(self.0) as *const [f32]) }
    }
}

// SAFETY: everything is that of `[f32]`.
#[allow(unsafe_code)]
unsafe impl ComponentType for Lent<'_> {
    type Lower = <[f32] as ComponentType>::Lower;

    const ABI: CanonicalAbiInfo = <[f32] as ComponentType>::ABI;

    fn typecheck(ty: &InterfaceType, types: &InstanceType<'_>) -> wasmtime::Result<()> {
        <[f32] as ComponentType>::typecheck(ty, types)
    }
}

// SAFETY: as above.
#[allow(unsafe_code)]
unsafe impl Lower for Lent<'_> {
    fn linear_lower_to_flat<T>(
        &self,
        cx: &mut LowerContext<'_, T>,
        ty: InterfaceType,
        dst: &mut MaybeUninit<Self::Lower>,
    ) -> wasmtime::Result<()> {
        self.values().linear_lower_to_flat(cx, ty, dst)
    }

    fn linear_lower_to_memory<T>(
        &self,
        cx: &mut LowerContext<'_, T>,
        ty: InterfaceType,
        offset: usize,
    ) -> wasmtime::Result<()> {
        self.values().linear_lower_to_memory(cx, ty, offset)
    }
}
