//! Visits every state a model can reach, breadth first, and tells the shortest way to one that breaks a promise.
//!
//! Flows in: a [`Model`], driven by production code. Flows out: how many states there are, or what broke and how. The
//! same models are walked at random, with bounds too wide to visit everything.

use std::collections::{HashSet, VecDeque};
use std::hash::Hash;

/// A small world and what may happen in it.
pub(crate) trait Model {
    type State: Clone + Eq + Hash;

    fn start(&self) -> Self::State;

    /// Hands each thing that may happen, and the state after it, to `reach`.
    fn next(&self, state: &Self::State, reach: &mut dyn FnMut(&'static str, Self::State));

    /// The promise that a state breaks.
    fn broken(&self, state: &Self::State) -> Option<String>;

    /// The promise that is broken by getting from one state to the next.
    fn taken_back(&self, _before: &Self::State, _after: &Self::State) -> Option<String> {
        None
    }
}

/// What a search saw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Visited {
    pub(crate) states: usize,
    /// The most things that have to happen to reach one of them.
    pub(crate) depth: usize,
}

/// A promise that does not hold.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Broken {
    pub(crate) promise: String,
    /// What happened, first to last.
    pub(crate) way: Vec<&'static str>,
}

/// One more thing that happened, and the place of what happened before it.
struct Happened {
    before: usize,
    name: &'static str,
    depth: usize,
}

/// Visits every reachable state.
pub(crate) fn search<M: Model>(model: &M) -> Result<Visited, Broken> {
    let start = model.start();
    let mut seen = HashSet::from([start.clone()]);
    let mut queue = VecDeque::from([start]);
    let mut happened = vec![Happened { before: 0, name: "", depth: 0 }];
    let (mut place, mut broken) = (0, None);
    while let Some(state) = queue.pop_front() {
        let depth = happened[place].depth + 1;
        model.next(&state, &mut |name, next| {
            if broken.is_some() {
                return;
            }
            broken = model.taken_back(&state, &next);
            if broken.is_none() && seen.contains(&next) {
                return;
            }
            happened.push(Happened { before: place, name, depth });
            broken = broken.take().or_else(|| model.broken(&next));
            seen.insert(next.clone());
            queue.push_back(next);
        });
        if let Some(promise) = broken {
            return Err(Broken { promise, way: way(&happened) });
        }
        // States leave the queue in the order in which they were reached.
        place += 1;
    }
    let visited = Visited { states: seen.len(), depth: happened.last().map_or(0, |last| last.depth) };
    println!("{} states, {} deep", visited.states, visited.depth);
    Ok(visited)
}

/// Fails with the shortest way to a broken promise, if there is one.
pub(crate) fn holds<M: Model>(model: &M) {
    if let Err(broken) = search(model) {
        panic!("{broken:#?}");
    }
}

/// The promise that something wrong on purpose breaks; fails where none is broken.
pub(crate) fn caught<M: Model>(model: &M) -> String {
    let broken = search(model).expect_err("a broken promise");
    println!("{broken:#?}");
    broken.promise
}

/// Lets chance choose what happens.
pub(crate) fn walk<M: Model>(model: &M, choices: &[usize]) -> Result<M::State, Broken> {
    let (mut state, mut way) = (model.start(), Vec::new());
    for choice in choices {
        let mut next = Vec::new();
        model.next(&state, &mut |name, after| next.push((name, after)));
        if next.is_empty() {
            break;
        }
        let (name, after) = next.swap_remove(choice % next.len());
        way.push(name);
        if let Some(promise) = model.taken_back(&state, &after).or_else(|| model.broken(&after)) {
            return Err(Broken { promise, way });
        }
        state = after;
    }
    Ok(state)
}

/// The wider bound where the environment asks for it, as the soak does.
#[expect(clippy::disallowed_methods, reason = "no flag reaches a unit test")]
pub(crate) fn bound<T>(usual: T, wide: T) -> T {
    if std::env::var("COUNTERSIGN_SEARCH").is_ok_and(|how| how == "wide") { wide } else { usual }
}

fn way(happened: &[Happened]) -> Vec<&'static str> {
    let last = happened.len() - 1;
    let back = std::iter::successors(Some(last), |place| Some(happened[*place].before).filter(|before| *before > 0));
    let mut way: Vec<_> = back.map(|place| happened[place].name).collect();
    way.reverse();
    way
}

/// Two counters of which one may not pass the other by more than one.
struct Counters(u8);

impl Model for Counters {
    type State = (u8, u8);

    fn start(&self) -> (u8, u8) {
        (0, 0)
    }

    fn next(&self, (left, right): &(u8, u8), reach: &mut dyn FnMut(&'static str, (u8, u8))) {
        if *left < self.0 {
            reach("left", (left + 1, *right));
        }
        if right < left {
            reach("right", (*left, right + 1));
        }
    }

    fn broken(&self, (left, right): &(u8, u8)) -> Option<String> {
        (*left > right + 2).then(|| "left is too far ahead".to_owned())
    }
}

#[test]
fn a_search_visits_every_state_once_and_tells_the_shortest_way_to_a_broken_promise() {
    assert_eq!(search(&Counters(2)), Ok(Visited { states: 6, depth: 4 }));
    let broken = Broken { promise: "left is too far ahead".to_owned(), way: vec!["left", "left", "left"] };
    assert_eq!(search(&Counters(3)), Err(broken));
}

#[test]
fn a_walk_goes_where_it_is_told_and_stops_where_nothing_can_happen() {
    assert_eq!(walk(&Counters(1), &[0, 0, 5]), Ok((1, 1)));
    assert!(walk(&Counters(9), &[0; 3]).is_err());
}
