//! Agents grouped by what stands in their way.

use std::borrow::Cow;

use super::{Lack, Verdicts};
use crate::domain::Constraint;
use crate::scheduler::Suspicion;

/// Agents that the same things stand in the way of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Obstacle {
    /// Names of what stands in the way, all of it.
    pub lacks: Vec<Cow<'static, str>>,
    /// The same for people: `2 agents lack cpus`.
    pub sentence: String,
    /// How many agents.
    pub agents: usize,
    /// Position among the verdicts of the one that is nearest to suiting.
    pub nearest: usize,
}

/// Groups what does not suit by the whole set of reasons, of an app with these constraints.
pub(super) fn obstacles(verdicts: &Verdicts, constraints: &[Constraint]) -> Vec<Obstacle> {
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
            sets.push(Set {
                lacks,
                distance,
                obstacle: Obstacle { lacks: names, sentence: String::new(), agents: 1, nearest: at },
            });
        }
    }
    let tell = |set: Set<'_>| {
        let sentence = sentence(set.obstacle.agents, set.lacks, constraints);
        Obstacle { sentence, ..set.obstacle }
    };
    let mut obstacles: Vec<Obstacle> = sets.into_iter().map(tell).collect();
    obstacles.sort_by(|a, b| b.agents.cmp(&a.agents).then_with(|| a.lacks.cmp(&b.lacks)));
    obstacles
}

/// So many agents, and what is the matter with them.
fn sentence(agents: usize, lacks: &[Lack], constraints: &[Constraint]) -> String {
    let of = |one: &'static str, many: &'static str| if agents == 1 { one } else { many };
    let (mut states, mut rules, mut scarce) = (Vec::new(), Vec::new(), Vec::new());
    for lack in lacks {
        match lack {
            Lack::Constraint(at, _) => rules.extend(constraints.get(*at).map(Constraint::to_string)),
            Lack::Amount(amount, ..) => scarce.push(amount.as_str()),
            Lack::Ports { .. } => scarce.push("host ports"),
            Lack::Unreachable(_) => states.push("cannot be reached".to_owned()),
            Lack::Contact(Suspicion::Drained) => {
                states.push(of("is being emptied", "are being emptied").into());
            }
            Lack::Contact(_) => states.push(of("is not heard of", "are not heard of").into()),
            Lack::Role { .. } => {
                states.push(of("keeps too much for other roles", "keep too much for other roles").into());
            }
            Lack::Hindered(_) => states.push("can start no tasks now".to_owned()),
            Lack::Containers(_) => states.push("can start no containers".to_owned()),
            Lack::Left => {
                states.push(of("is left by a copy that moves", "are left by copies that move").into());
            }
        }
    }
    let rules =
        (!rules.is_empty()).then(|| format!("{} {}", of("does not meet", "do not meet"), rules.join(" or ")));
    let scarce = (!scarce.is_empty()).then(|| format!("{} {}", of("lacks", "lack"), scarce.join(" and ")));
    states.extend(rules.into_iter().chain(scarce));
    format!("{agents} {} {}", of("agent", "agents"), states.join(", and "))
}
