//! The agent's one connection to the leader: found from any master, kept alive, found again.
//!
//! Way in: [`run`]. Carries messages; what they mean is the core's business, except for
//! redirects and heartbeats, which end here.

use std::io;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until, timeout, timeout_at};

use crate::line::{Line, LineReceiver, LineSender, Purpose, Security};
use crate::protocol::{FromAgent, FromMaster, is_quiet};
use crate::world;

/// Shortest pause before the next master is tried.
const REDIAL_AFTER: Duration = Duration::from_millis(50);
/// Longest such pause: an election is over by then.
const REDIAL_AFTER_MAX: Duration = Duration::from_secs(1);
/// First pause after a refusal, which mostly people have to mend. It doubles.
const REFUSED_PAUSE: Duration = Duration::from_secs(2);
/// Longest such pause: what was mended is noticed so soon, and logs stay readable.
const REFUSED_PAUSE_MAX: Duration = Duration::from_secs(15);
/// Longest wait for the answer to an introduction, which may need a commit.
const WELCOME_WITHIN: Duration = Duration::from_secs(5);
/// Longest wait for a master to take one message off the line.
const SEND_WITHIN: Duration = Duration::from_secs(5);
/// A leader is silent when it left so many heartbeats in a row unanswered, and a little. The first of
/// them may have been a quiet one.
const HEARTBEATS_MISSED_MAX: u32 = 4;
const SILENCE_MARGIN: Duration = Duration::from_millis(500);
/// Bounds on the pace that a master may ask for.
const HEARTBEAT_RANGE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(10));
/// People are told once when nobody has taken this agent for so long, whatever it waits for: an
/// election is over by then.
const TOLD_AFTER: Duration = Duration::from_secs(2);
/// Masters that point at one another without one that leads: wait a little.
const REDIRECTS_IN_A_ROW_MAX: u32 = 3;
/// Messages that wait to be sent; beyond it the connection is given up, and with the next
/// one everything is told anew.
const OUTBOX_MESSAGES_MAX: usize = 1024;

/// What the link reports.
#[derive(Debug)]
pub(super) enum LinkEvent {
    /// A master was reached and waits for an introduction, which goes into this outbox.
    /// Dropping the outbox leaves the master.
    Up(mpsc::Sender<FromAgent>),
    /// A master said something.
    Heard(FromMaster),
    /// The connection is gone.
    Down,
}

/// Why a connection ended.
enum End {
    Redirected(Option<String>),
    Refused(String),
    Left,
    Lost(io::Error),
}

struct Link {
    masters: Vec<String>,
    security: Security,
    events: mpsc::Sender<LinkEvent>,
    next: usize,
    failures: u32,
    redirects: u32,
    refusals: u32,
    /// Since when no leader has this agent.
    alone_since: Instant,
    /// Whether people know.
    is_told: bool,
    /// What the latest try came to.
    last: String,
}

/// Keeps a connection to whichever of `masters` leads, until nobody listens to `events`.
pub(super) async fn run(masters: Vec<String>, security: Security, events: mpsc::Sender<LinkEvent>) {
    let first = usize::try_from(world::random_u64() % 1024).unwrap_or(0);
    let mut link = Link {
        masters,
        security,
        events,
        next: first,
        failures: 0,
        redirects: 0,
        refusals: 0,
        alone_since: Instant::now(),
        is_told: false,
        last: "no answer".to_owned(),
    };
    let mut hint = None;
    while !link.events.is_closed() {
        hint = link.try_one(hint).await;
    }
}

impl Link {
    /// Serves one connection from dialling to its end, pauses if that is due, and says
    /// where to go next when somebody told.
    async fn try_one(&mut self, hint: Option<String>) -> Option<String> {
        let Some(address) = hint.or_else(|| self.rotate()) else {
            sleep(REFUSED_PAUSE_MAX).await;
            return None;
        };
        let security = self.security.clone();
        let end = match self.patiently(security.dial(&address, Purpose::Agent)).await {
            Ok(line) => self.serve(line, &address).await,
            Err(error) => End::Lost(error),
        };
        match end {
            End::Redirected(Some(leader)) if self.redirects < REDIRECTS_IN_A_ROW_MAX => {
                self.redirects += 1;
                tracing::debug!(master = address, leader, "sent on to the leader");
                return Some(leader);
            }
            End::Redirected(_) => {
                tracing::debug!(master = address, "master knows no leader");
                self.redirects = 0;
                self.pause("master knows no leader").await;
            }
            End::Refused(reason) => {
                let again_in = self.refused_pause();
                tracing::error!(
                    master = address,
                    reason,
                    ?again_in,
                    "master refuses this agent; its tasks run on"
                );
                sleep(again_in).await;
            }
            End::Left => self.pause("this agent left").await,
            End::Lost(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                tracing::error!(master = address, %error, "master and agent do not let each other in");
                sleep(self.refused_pause()).await;
            }
            End::Lost(error) => {
                tracing::debug!(master = address, %error, "no connection to master");
                self.pause(&error.to_string()).await;
            }
        }
        None
    }

    fn rotate(&mut self) -> Option<String> {
        let count = self.masters.len().max(1);
        self.next = self.next.wrapping_add(1) % count;
        self.masters.get(self.next).cloned()
    }

    /// A pause that doubles from refusal to refusal.
    fn refused_pause(&mut self) -> Duration {
        self.is_told = true;
        let pause = REFUSED_PAUSE.saturating_mul(1 << self.refusals.min(8)).min(REFUSED_PAUSE_MAX);
        self.refusals = self.refusals.saturating_add(1);
        pause
    }

    /// Between half and all of a pause that doubles.
    async fn pause(&mut self, why: &str) {
        let full = REDIAL_AFTER.saturating_mul(1 << self.failures.min(8)).min(REDIAL_AFTER_MAX);
        self.failures = self.failures.saturating_add(1);
        why.clone_into(&mut self.last);
        let half = u64::try_from(full.as_micros() / 2).unwrap_or(u64::MAX).max(1);
        self.patiently(sleep(full / 2 + Duration::from_micros(world::random_u64() % half))).await;
    }

    /// Awaits one step on the way to a leader, and tells people meanwhile when that is due.
    async fn patiently<T>(&mut self, step: impl Future<Output = T>) -> T {
        tokio::pin!(step);
        if !self.is_told {
            tokio::select! {
                biased;
                done = &mut step => return done,
                () = sleep_until(self.alone_since + TOLD_AFTER) => self.tell(),
            }
        }
        step.await
    }

    fn tell(&mut self) {
        self.is_told = true;
        let masters = self.masters.join(",");
        tracing::warn!(
            masters,
            last = self.last,
            "no master takes this agent for the moment; tasks run on. Do they run, is --masters right, \
             and were they given a cluster secret that this agent was not?"
        );
    }

    async fn serve(&mut self, line: Line, address: &str) -> End {
        let (outbox, out) = mpsc::channel(OUTBOX_MESSAGES_MAX);
        if self.events.send(LinkEvent::Up(outbox)).await.is_err() {
            return End::Left;
        }
        let (sender, receiver) = line.split();
        let mut session = Session { events: self.events.clone(), sender, receiver, out };
        let end = match self.patiently(session.begin()).await {
            Ok(heartbeat) => {
                tracing::info!(leader = address, "registered with the leader");
                (self.failures, self.redirects, self.refusals) = (0, 0, 0);
                let end = session.go_on(heartbeat).await;
                (self.alone_since, self.is_told) = (Instant::now(), false);
                end
            }
            Err(end) => end,
        };
        let _ = timeout(SEND_WITHIN, session.sender.close()).await;
        let _ = self.events.send(LinkEvent::Down).await;
        if let End::Lost(error) = &end {
            tracing::debug!(master = address, %error, "connection lost");
        }
        end
    }
}

struct Session {
    events: mpsc::Sender<LinkEvent>,
    sender: LineSender,
    receiver: LineReceiver,
    out: mpsc::Receiver<FromAgent>,
}

/// What a session's loop hears.
#[expect(clippy::large_enum_variant, reason = "made one at a time and moved at once; never kept in bulk")]
enum Input {
    Beat,
    ToSend(Option<FromAgent>),
    Said(Result<FromMaster, End>),
}

impl Session {
    /// Introduces the agent; gives the pace of heartbeats.
    async fn begin(&mut self) -> Result<Duration, End> {
        let Ok(introduction) = timeout(WELCOME_WITHIN, self.out.recv()).await else { return Err(End::Left) };
        let introduction = introduction.ok_or(End::Left)?;
        self.send(&introduction).await?;
        let deadline = Instant::now() + WELCOME_WITHIN;
        let message = hear(&self.events, &mut self.receiver, deadline).await?;
        let FromMaster::Welcome { heartbeat_millis, .. } = &message else {
            return Err(End::Lost(io::Error::other("an introduction was not answered by a welcome")));
        };
        let (least, most) = HEARTBEAT_RANGE;
        let heartbeat = Duration::from_millis(*heartbeat_millis).clamp(least, most);
        self.pass_on(message).await?;
        Ok(heartbeat)
    }

    async fn go_on(&mut self, heartbeat: Duration) -> End {
        let silence = heartbeat * HEARTBEATS_MISSED_MAX + SILENCE_MARGIN;
        let mut beats = interval(heartbeat);
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut seq = 0;
        let mut last_heard = Instant::now();
        loop {
            let input = tokio::select! {
                biased;
                _ = beats.tick() => Input::Beat,
                message = self.out.recv() => Input::ToSend(message),
                said = hear(&self.events, &mut self.receiver, last_heard + silence) => Input::Said(said),
            };
            let result = match input {
                Input::Beat => {
                    seq += 1;
                    let quiet = is_quiet(last_heard.elapsed(), heartbeat);
                    self.send(&FromAgent::Heartbeat { seq, quiet }).await
                }
                Input::ToSend(Some(message)) => {
                    // Whoever says something need not say that it lives.
                    beats.reset();
                    self.send(&message).await
                }
                Input::ToSend(None) => Err(End::Left),
                Input::Said(Ok(message)) => {
                    last_heard = Instant::now();
                    self.pass_on(message).await
                }
                Input::Said(Err(end)) => Err(end),
            };
            if let Err(end) = result {
                return end;
            }
        }
    }

    async fn send(&mut self, message: &FromAgent) -> Result<(), End> {
        match timeout(SEND_WITHIN, self.sender.send(message)).await {
            Ok(result) => result.map_err(End::Lost),
            Err(_) => Err(End::Lost(io::ErrorKind::TimedOut.into())),
        }
    }

    /// There is room: [`hear`] waited for it.
    async fn pass_on(&mut self, message: FromMaster) -> Result<(), End> {
        self.events.send(LinkEvent::Heard(message)).await.map_err(|_| End::Left)
    }
}

/// Waits for room with whoever listens, then for a message. So heartbeats go on while the
/// agent's disk is slow, and its silence is not taken for the master's.
async fn hear(
    events: &mpsc::Sender<LinkEvent>,
    receiver: &mut LineReceiver,
    deadline: Instant,
) -> Result<FromMaster, End> {
    drop(events.reserve().await.map_err(|_| End::Left)?);
    let received = timeout_at(deadline, receiver.receive::<FromMaster>()).await;
    match received.map_err(|_| End::Lost(io::ErrorKind::TimedOut.into()))?.map_err(End::Lost)? {
        None => Err(End::Lost(io::ErrorKind::UnexpectedEof.into())),
        Some(FromMaster::Redirect { leader }) => Err(End::Redirected(leader)),
        Some(message) => {
            if let FromMaster::Refuse { reason } = &message {
                let _ = events.send(LinkEvent::Heard(message.clone())).await;
                return Err(End::Refused(reason.clone()));
            }
            Ok(message)
        }
    }
}
