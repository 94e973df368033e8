//! Tokens a second beside a bare axum handler that signs the same claims with the same key.

use super::{Effort, list};
use crate::figures::{Report, Target};
use crate::floor::Running;
use crate::load::{Runs, tokens};
use crate::world::{ALGORITHMS, World};

const CONNECTIONS: u32 = 32;

pub async fn measure(effort: Effort, report: &mut Report) {
    let world = World::start(&[]).await;
    for (algorithm, client) in ALGORITHMS {
        let form = world.form(client);
        let sample = world.tokens(client, 1).await;
        let floor = Running::token(&world.signing(&sample[0]));
        let (mut floors, mut ours) = (Runs::default(), Runs::default());
        for round in 0..=effort.rounds {
            let seconds = if round == 0 { 1 } else { effort.seconds };
            let floor = tokens(floor.address, &form, CONNECTIONS, seconds, &[floor.process.id()]);
            let our = tokens(world.issuer, &form, CONNECTIONS, seconds, &[world.process.id()]);
            // The first round only warms up.
            if round > 0 {
                floors.push(floor);
                ours.push(our);
            }
        }
        let detail = format!(
            "ours {}/s, floor {}/s; p99 {:.1} and {:.1} ms",
            list(ours.0.iter().map(|run| run.rate)),
            list(floors.0.iter().map(|run| run.rate)),
            ours.median(|run| run.p99) / 1e3,
            floors.median(|run| run.p99) / 1e3,
        );
        let ratio = (ours.ratio(&floors, |run| run.rate), "× the floor");
        report.add("token", format!("tokens a second, {algorithm}"), ratio, Target::AtLeast(0.6), detail);
        let detail =
            format!("ours {:.1} µs, floor {:.1} µs", ours.median(|run| run.cpu[0]), floors.median(|run| run.cpu[0]));
        let ratio = (ours.ratio(&floors, |run| run.cpu[0]), "× the floor");
        report.add("token", format!("CPU a token, {algorithm}"), ratio, Target::None, detail);
    }
}
