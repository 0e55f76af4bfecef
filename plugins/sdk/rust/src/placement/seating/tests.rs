use super::*;

fn worker(slots: u32, slots_free: u32) -> Worker {
    Worker { slots_free, ..Worker::idle("a", slots) }
}

fn gpu(index: u32, utilization: Option<f64>, memory_free_bytes: u64) -> Gpu {
    Gpu {
        index,
        name: "card".into(),
        uuid: String::new(),
        memory_total_bytes: None,
        memory_free_bytes: Some(memory_free_bytes),
        utilization,
        power_watts: None,
    }
}

#[test]
fn slots_given_to_one_round_are_gone_for_the_next() {
    let workers = [worker(3, 1), worker(2, 0)];
    let mut seating = Seating::new(&workers);
    assert_eq!(seating.open(0, &Demand::new(2, 1, &[0, 1, 7])), Some(vec![0]));
    assert_eq!((seating.slots_free(0), seating.slots_busy(0)), (1, 2));
    seating.seat(0, 0, "because");
    assert_eq!((seating.slots_free(0), seating.slots_busy(0)), (0, 3));
    assert_eq!(seating.open(1, &Demand::new(2, 0, &[0, 1])), None);
    let answer = seating.answer(vec![7]);
    assert_eq!(answer.assignments[0].reason, "because");
    assert_eq!((answer.declined[0].demand, answer.state), (1, vec![7]));
    assert_eq!(answer.declined[0].reason, "the round needs 1 workers, and 0 of its 2 candidates have a free slot");
}

#[test]
fn a_round_that_cannot_have_its_smallest_cohort_takes_nobody() {
    let workers = [worker(1, 1), worker(1, 0)];
    let demands = vec![Demand::new(2, 2, &[0, 1]), Demand::new(1, 1, &[0])];
    let question = Question::new(demands, workers.to_vec());
    let everyone =
        |_: &Seating<'_>, _: &Demand, open: Vec<u32>| Ok(open.into_iter().map(|w| (w, "x".into())).collect());
    let answer = place_in_order(&question, everyone).unwrap();
    assert_eq!(answer.declined[0].demand, 0);
    assert_eq!((answer.assignments[0].demand, answer.assignments[0].worker), (1, 0));
}

#[test]
fn the_freest_gpu_is_given_and_not_twice_before_the_others() {
    let mut busy = worker(4, 4);
    busy.load.gpus = vec![gpu(0, Some(0.5), 1), gpu(1, Some(0.25), 1), gpu(2, None, 9), gpu(3, Some(0.25), 2)];
    let workers = [busy];
    let mut seating = Seating::new(&workers);
    for demand in 0..5 {
        seating.seat(demand, 0, "because");
    }
    let answer = seating.answer(Vec::new());
    let gpus: Vec<_> = answer.assignments.iter().filter_map(|seat| seat.gpu).collect();
    assert_eq!(gpus, [3, 1, 0, 2, 3]);
    assert_eq!(answer.assignments[1].reason, "because; GPU 1 25% busy");
    assert_eq!(answer.assignments[3].reason, "because; GPU 2 does not tell its use");
}
