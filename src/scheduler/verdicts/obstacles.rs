//! Agents grouped by what stands in their way.

use std::borrow::Cow;

use super::{Lack, Verdicts};

/// Agents that the same things stand in the way of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Obstacle {
    /// Names of what stands in the way, all of it.
    pub lacks: Vec<Cow<'static, str>>,
    /// How many agents.
    pub agents: usize,
    /// Position among the verdicts of the one that is nearest to suiting.
    pub nearest: usize,
}

/// Groups what does not suit by the whole set of reasons.
pub(super) fn obstacles(verdicts: &Verdicts) -> Vec<Obstacle> {
    struct Set<'a> {
        lacks: &'a [Lack],
        distance: u64,
        obstacle: Obstacle,
    }
    // Names are made once for each set, of which there are few.
    let mut sets: Vec<Set<'_>> = Vec::new();
    for (at, lacks) in verdicts.lacks().enumerate().filter(|(_, lacks)| !lacks.is_empty()) {
        let distance = lacks.iter().map(Lack::distance).max().unwrap_or(0);
        let is_alike = |set: &&mut Set<'_>| {
            set.lacks.len() == lacks.len() && set.lacks.iter().zip(lacks).all(|(a, b)| a.is_like(b))
        };
        if let Some(set) = sets.iter_mut().find(is_alike) {
            set.obstacle.agents += 1;
            if distance < set.distance {
                (set.distance, set.obstacle.nearest) = (distance, at);
            }
        } else {
            let names = lacks.iter().map(Lack::name).collect();
            sets.push(Set { lacks, distance, obstacle: Obstacle { lacks: names, agents: 1, nearest: at } });
        }
    }
    let mut obstacles: Vec<Obstacle> = sets.into_iter().map(|set| set.obstacle).collect();
    obstacles.sort_by(|a, b| b.agents.cmp(&a.agents).then_with(|| a.lacks.cmp(&b.lacks)));
    obstacles
}
