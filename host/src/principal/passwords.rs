//! Password hashes: Argon2id (RFC 9106) on threads of its own.
//!
//! A computation takes tens of milliseconds of a processor and megabytes of memory, so both are bounded: a fixed number of
//! threads, each with one block of memory that it uses again, behind a queue of fixed length. The threads run at a lower
//! priority than those that serve requests, so that a login storm delays sign-ins and no other request. The queue has a
//! line for each plugin, so that one plugin's storm does not delay another's sign-ins, and a job is not started after its caller
//! has gone or its deadline has passed. A stored hash may ask for a few times the work of a new one and no more.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use argon2::password_hash::phc::{Output, ParamsString, Salt};
use argon2::{Algorithm, Argon2, Block, Params, PasswordHash, Version};
use parking_lot::{Condvar, Mutex};
use tokio::sync::oneshot;
use zeroize::Zeroizing;

use super::fair_queue::FairQueue;

/// The longest password, in bytes.
pub const MAX_PASSWORD_BYTES: usize = 1024;

const SALT_BYTES: usize = 16;
/// What the PHC form allows.
const MAX_SALT_BYTES: usize = 48;
const HASH_BYTES: usize = 32;

/// A hash that asks for more lanes than this, and more than new ones have, is not computed. Lanes cost no work of their own.
const MOST_LANES: u32 = 16;

/// How long an idle thread keeps its memory.
const KEEP_MEMORY: Duration = Duration::from_secs(5);

/// The parameters and bounds.
#[derive(Debug, Clone)]
pub struct PasswordSettings {
    /// The memory of one computation, in KiB: at least 8 for each lane.
    pub memory_kib: u32,
    /// The passes over the memory: at least 1.
    pub iterations: u32,
    /// The lanes: at least 1.
    pub parallelism: u32,
    /// How many computations run at once; 0 for half of the processors and at least one.
    pub concurrency: usize,
    /// How many callers may wait.
    pub queue: usize,
    /// How many times the memory, and the memory times the passes, of a new hash a stored one may ask for: at least 1.
    pub max_cost: u32,
}

/// For whom a computation is.
#[derive(Debug, Clone)]
pub struct Asker {
    /// The plugin, which has a line of its own.
    pub plugin: Arc<str>,
    /// A computation that has not begun by then is not begun.
    pub deadline: Instant,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PasswordError {
    /// More callers wait than may.
    #[error("too many passwords are being checked")]
    Busy,
    /// The password is longer than [`MAX_PASSWORD_BYTES`].
    #[error("the password is longer than 1024 bytes")]
    TooLong,
    /// The hash is none that this host made.
    #[error("the hash is none of this host's")]
    InvalidHash,
    /// The hash asks for more work than the settings allow.
    #[error("the hash asks for more memory or iterations than security.passwords.max_cost allows")]
    TooCostly,
    /// A fault of the host; for the log.
    #[error("{0}")]
    Host(String),
}

/// How a password compared to a hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is another password.
    Wrong,
    /// It is the password.
    Correct,
    /// It is the password, and the hash was made with weaker parameters than today's.
    CorrectRehash,
}

/// What is going on, for the metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PasswordStats {
    /// Callers that wait.
    pub queued: usize,
    /// Computations that run.
    pub running: usize,
    /// Computations that were done since the start.
    pub done: u64,
    /// Callers that were turned away since the start.
    pub rejected: u64,
    /// Computations that were not begun since the start, because the caller had gone or the time was over.
    pub abandoned: u64,
    /// Hashes that asked for too much work since the start.
    pub too_costly: u64,
}

/// One computation of the output for a password.
struct Job {
    password: Zeroizing<String>,
    salt: [u8; MAX_SALT_BYTES],
    salt_len: usize,
    params: Params,
    deadline: Instant,
    answer: oneshot::Sender<Result<Zeroizing<[u8; HASH_BYTES]>, PasswordError>>,
}

impl Job {
    /// Whether somebody waits for it who can still be answered in time.
    fn is_wanted(&self) -> bool {
        !self.answer.is_closed() && Instant::now() < self.deadline
    }
}

struct Queue {
    jobs: FairQueue<Job>,
    closed: bool,
}

struct Shared {
    queue: Mutex<Queue>,
    work: Condvar,
    own_blocks: usize,
    running: AtomicUsize,
    done: AtomicU64,
    rejected: AtomicU64,
    abandoned: AtomicU64,
    too_costly: AtomicU64,
}

/// Hashes and verifies passwords. Dropping it ends its threads.
pub struct Passwords {
    shared: Arc<Shared>,
    params: Params,
    max_cost: u32,
}

impl Passwords {
    /// Starts the threads; their memory is taken at the first computation.
    ///
    /// # Errors
    /// Parameters that Argon2 does not allow; a thread that cannot be started.
    pub fn new(settings: &PasswordSettings) -> Result<Self, PasswordError> {
        let params = Params::new(settings.memory_kib, settings.iterations, settings.parallelism, Some(HASH_BYTES))
            .map_err(host)?;
        let processors = thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let threads = if settings.concurrency == 0 { (processors / 2).max(1) } else { settings.concurrency };
        let shared = Arc::new(Shared {
            queue: Mutex::new(Queue { jobs: FairQueue::new(settings.queue.max(1)), closed: false }),
            work: Condvar::new(),
            own_blocks: params.block_count(),
            running: AtomicUsize::new(0),
            done: AtomicU64::new(0),
            rejected: AtomicU64::new(0),
            abandoned: AtomicU64::new(0),
            too_costly: AtomicU64::new(0),
        });
        let passwords = Self { shared: Arc::clone(&shared), params, max_cost: settings.max_cost.max(1) };
        for _ in 0..threads {
            let shared = Arc::clone(&shared);
            thread::Builder::new().name("passwords".to_owned()).spawn(move || shared.run()).map_err(host)?;
        }
        Ok(passwords)
    }

    /// A new hash with a random salt, in PHC string form.
    ///
    /// # Errors
    /// The queue is full, the password too long, or the host has no randomness or memory.
    pub async fn hash(&self, asker: &Asker, password: &str) -> Result<String, PasswordError> {
        let mut salt = [0; SALT_BYTES];
        getrandom::fill(&mut salt).map_err(host)?;
        let output = self.compute(asker, password, &salt, self.params.clone()).await?;
        let hash = PasswordHash {
            algorithm: Algorithm::Argon2id.ident(),
            version: Some(Version::V0x13.into()),
            params: ParamsString::try_from(&self.params).map_err(host)?,
            salt: Some(Salt::new(&salt).map_err(host)?),
            hash: Some(Output::new(&*output).map_err(host)?),
        };
        Ok(hash.to_string())
    }

    /// Compares. Without a hash (there is no such account) the same work is done and the answer is `Wrong`.
    ///
    /// # Errors
    /// The queue is full, the password is too long, the hash is too costly or was not made by this host, or memory is exhausted.
    pub async fn verify(&self, asker: &Asker, password: &str, hash: Option<&str>) -> Result<Verdict, PasswordError> {
        let Some(hash) = hash else {
            self.compute(asker, password, &[0; SALT_BYTES], self.params.clone()).await?;
            return Ok(Verdict::Wrong);
        };
        let parsed = self.parse(hash).ok_or(PasswordError::InvalidHash)?;
        if !self.can_afford(&parsed.params) {
            self.shared.too_costly.fetch_add(1, Ordering::Relaxed);
            return Err(PasswordError::TooCostly);
        }
        let (weak_memory, weak_passes) =
            (parsed.params.m_cost() < self.params.m_cost(), parsed.params.t_cost() < self.params.t_cost());
        let output = self.compute(asker, password, &parsed.salt, parsed.params).await?;
        let same: bool = subtle::ConstantTimeEq::ct_eq(output.as_slice(), parsed.hash.as_slice()).into();
        Ok(match (same, weak_memory || weak_passes) {
            (false, _) => Verdict::Wrong,
            (true, false) => Verdict::Correct,
            (true, true) => Verdict::CorrectRehash,
        })
    }

    /// Reads a hash in the one form that this host makes: Argon2id, version 19, 32 bytes.
    fn parse(&self, text: &str) -> Option<Parsed> {
        let hash = PasswordHash::new(text).ok()?;
        if hash.algorithm != Algorithm::Argon2id.ident() || hash.version != Some(Version::V0x13.into()) {
            return None;
        }
        let params = Params::try_from(&hash).ok()?;
        if params.p_cost() > MOST_LANES.max(self.params.p_cost())
            || !params.data().is_empty()
            || !params.keyid().is_empty()
        {
            return None;
        }
        let output = hash.hash?;
        Some(Parsed { params, salt: hash.salt?.to_vec(), hash: output.as_bytes().try_into().ok()? })
    }

    /// Whether the work is within what the settings allow: the memory, and the memory times the passes.
    fn can_afford(&self, params: &Params) -> bool {
        let most = |own: u64| own.saturating_mul(self.max_cost.into());
        u64::from(params.m_cost()) <= most(self.params.m_cost().into()) && cost(params) <= most(cost(&self.params))
    }

    /// What is going on.
    #[must_use]
    pub fn stats(&self) -> PasswordStats {
        PasswordStats {
            queued: self.shared.queue.lock().jobs.len(),
            running: self.shared.running.load(Ordering::Relaxed),
            done: self.shared.done.load(Ordering::Relaxed),
            rejected: self.shared.rejected.load(Ordering::Relaxed),
            abandoned: self.shared.abandoned.load(Ordering::Relaxed),
            too_costly: self.shared.too_costly.load(Ordering::Relaxed),
        }
    }

    /// A caller that goes away (drops the future) takes its job with it.
    async fn compute(
        &self,
        asker: &Asker,
        password: &str,
        salt: &[u8],
        params: Params,
    ) -> Result<Zeroizing<[u8; HASH_BYTES]>, PasswordError> {
        if password.len() > MAX_PASSWORD_BYTES {
            return Err(PasswordError::TooLong);
        }
        let mut padded = [0; MAX_SALT_BYTES];
        padded.get_mut(..salt.len()).ok_or(PasswordError::InvalidHash)?.copy_from_slice(salt);
        let (answer, done) = oneshot::channel();
        let password = Zeroizing::new(password.to_owned());
        let job = Job { password, salt: padded, salt_len: salt.len(), params, deadline: asker.deadline, answer };
        self.push(&asker.plugin, job);
        // Not begun in time, or the host ends.
        done.await.unwrap_or(Err(PasswordError::Busy))
    }

    fn push(&self, plugin: &Arc<str>, job: Job) {
        let mut queue = self.shared.queue.lock();
        if queue.jobs.is_full() {
            // Those who went away make room before anybody is turned away.
            let before = queue.jobs.len();
            queue.jobs.retain(Job::is_wanted);
            let gone = u64::try_from(before - queue.jobs.len()).unwrap_or(0);
            self.shared.abandoned.fetch_add(gone, Ordering::Relaxed);
        }
        let cost = cost(&job.params);
        let turned_away = queue.jobs.push(plugin, cost, job);
        drop(queue);
        if let Some(job) = turned_away {
            self.shared.rejected.fetch_add(1, Ordering::Relaxed);
            let _ = job.answer.send(Err(PasswordError::Busy));
        }
        self.shared.work.notify_one();
    }
}

/// The work of a computation: KiB that are written, over all passes.
fn cost(params: &Params) -> u64 {
    u64::from(params.m_cost()).saturating_mul(params.t_cost().into())
}

impl Drop for Passwords {
    fn drop(&mut self) {
        let mut queue = self.shared.queue.lock();
        queue.closed = true;
        queue.jobs.clear();
        drop(queue);
        self.shared.work.notify_all();
    }
}

impl Shared {
    /// The life of one thread.
    fn run(&self) {
        // On Linux this is the priority of the calling thread alone; elsewhere it would be that of the whole process.
        #[cfg(target_os = "linux")]
        let _ = rustix::process::nice(5);
        let mut memory: Vec<Block> = Vec::new();
        while let Some(job) = self.next(&mut memory) {
            self.running.fetch_add(1, Ordering::Relaxed);
            let result = compute(&job, &mut memory);
            if memory.len() > self.own_blocks {
                // A hash with larger parameters than ours must not make the thread larger for good.
                memory = Vec::new();
            }
            self.running.fetch_sub(1, Ordering::Relaxed);
            self.done.fetch_add(1, Ordering::Relaxed);
            // Fails where the caller went away during the work.
            let _ = job.answer.send(result);
        }
    }

    /// The next job that somebody still waits for; none at the end. Memory is given back after a while without work.
    fn next(&self, memory: &mut Vec<Block>) -> Option<Job> {
        let mut queue = self.queue.lock();
        loop {
            if queue.closed {
                return None;
            }
            while let Some(job) = queue.jobs.pop() {
                if job.is_wanted() {
                    return Some(job);
                }
                self.abandoned.fetch_add(1, Ordering::Relaxed);
            }
            if memory.is_empty() {
                self.work.wait(&mut queue);
            } else if self.work.wait_for(&mut queue, KEEP_MEMORY).timed_out() {
                *memory = Vec::new();
            }
        }
    }
}

fn compute(job: &Job, memory: &mut Vec<Block>) -> Result<Zeroizing<[u8; HASH_BYTES]>, PasswordError> {
    let needed = job.params.block_count();
    if memory.len() < needed {
        memory.try_reserve_exact(needed - memory.len()).map_err(host)?;
        memory.resize(needed, Block::new());
    }
    let mut output = Zeroizing::new([0; HASH_BYTES]);
    let salt = &job.salt[..job.salt_len];
    Argon2::new(Algorithm::Argon2id, Version::V0x13, job.params.clone())
        .hash_password_into_with_memory(job.password.as_bytes(), salt, output.as_mut_slice(), memory.as_mut_slice())
        .map_err(host)?;
    Ok(output)
}

struct Parsed {
    params: Params,
    salt: Vec<u8>,
    hash: [u8; HASH_BYTES],
}

fn host(error: impl std::fmt::Display) -> PasswordError {
    PasswordError::Host(error.to_string())
}
