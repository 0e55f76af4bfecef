//! Policies of ours, against their definitions in plain float64.
