//! A disk that fails by plan: it loses what was not synced, tears what was written last, fills up and breaks.

use std::sync::Arc;

use parking_lot::Mutex;

use crate::{Disk, DiskError, DiskFile};

/// What a loss of power keeps or loses together.
const SECTOR: usize = 512;

/// What may go wrong, and the seed by which it does. Chances are in thousandths.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Faults {
    /// Where chance begins; the same seed and the same operations fail in the same way.
    pub seed: u64,
    /// How often an append finds no room; part of the bytes may be written.
    pub full: u16,
    /// How often a sync fails. The bytes may be safe, or not.
    pub sync: u16,
    /// The power goes in the middle of the operation with this number (the first is 0).
    pub power_loss_at: Option<u64>,
    /// How many bytes the disk has room for; `None` for no bound.
    pub room: Option<u64>,
}

/// A simulated disk. Its clones are the same disk; [`crash`](Self::crash) leaves all of them useless, and gives a new one.
#[derive(Debug, Clone)]
pub struct SimDisk {
    shared: Arc<Mutex<Shared>>,
    /// Which power cycle this handle belongs to.
    cycle: u64,
}

#[derive(Debug, Default)]
struct Shared {
    files: [SimFile; 2],
    faults: Faults,
    chance: u64,
    operations: u64,
    syncs: u64,
    cycle: u64,
}

#[derive(Debug, Default)]
struct SimFile {
    /// What a reader sees.
    bytes: Vec<u8>,
    /// What is certain to survive.
    durable: Vec<u8>,
}

fn index(file: DiskFile) -> usize {
    match file {
        DiskFile::Log => 0,
        DiskFile::Blobs => 1,
    }
}

impl Shared {
    /// A splitmix64 step.
    fn next(&mut self) -> u64 {
        self.chance = self.chance.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.chance;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below a bound; 0 for a bound of 0.
    fn below(&mut self, bound: usize) -> usize {
        let bound = bound as u64;
        (self.next() % bound.max(1)) as usize
    }

    fn happens(&mut self, thousandths: u16) -> bool {
        thousandths > 0 && self.next() % 1000 < u64::from(thousandths)
    }

    fn used(&self) -> u64 {
        self.files.iter().map(|file| file.bytes.len() as u64).sum()
    }

    /// What a file holds after the power was lost: of each sector that was not synced, the old or the new bytes.
    fn after_power_loss(&mut self, at: usize) -> Vec<u8> {
        let file = std::mem::take(&mut self.files[at]);
        let (new, old) = (file.bytes, file.durable);
        // The file may have got its new length, the old one, or one between.
        let (shorter, longer) = (new.len().min(old.len()), new.len().max(old.len()));
        let len = shorter + self.below(longer - shorter + 1);
        let mut out = vec![0; len];
        for start in (0..len).step_by(SECTOR) {
            let end = (start + SECTOR).min(len);
            let from = if self.next() & 1 == 0 { &new } else { &old };
            // Beyond the end of the one that was chosen stand zeros, as in a file that grew without its data.
            let have = from.get(start..end.min(from.len())).unwrap_or_default();
            out[start..start + have.len()].copy_from_slice(have);
        }
        out
    }

    fn lose_power(&mut self) {
        self.cycle += 1;
        for at in 0..self.files.len() {
            let bytes = self.after_power_loss(at);
            self.files[at] = SimFile {
                durable: bytes.clone(),
                bytes,
            };
        }
    }
}

fn gone() -> DiskError {
    DiskError::Failed {
        cause: "the power is gone".to_owned(),
    }
}

impl SimDisk {
    /// Makes an empty disk.
    pub fn new(faults: Faults) -> Self {
        let shared = Shared {
            faults,
            chance: faults.seed,
            ..Shared::default()
        };
        Self {
            shared: Arc::new(Mutex::new(shared)),
            cycle: 0,
        }
    }

    /// Loses power, and comes back: what was not synced may be lost or torn, and whoever still holds the disk of before
    /// can do nothing with it.
    pub fn crash(&self) -> Self {
        let mut shared = self.shared.lock();
        if shared.cycle == self.cycle {
            shared.lose_power();
        }
        Self {
            shared: Arc::clone(&self.shared),
            cycle: shared.cycle,
        }
    }

    /// Changes what may go wrong from now on; chance goes on where it is.
    pub fn set_faults(&self, faults: Faults) {
        self.shared.lock().faults = faults;
    }

    /// Says whether the power went since this handle came to be.
    pub fn is_off(&self) -> bool {
        self.shared.lock().cycle != self.cycle
    }

    /// Returns how many operations that write there have been.
    pub fn operations(&self) -> u64 {
        self.shared.lock().operations
    }

    /// Returns how many syncs there have been.
    pub fn syncs(&self) -> u64 {
        self.shared.lock().syncs
    }

    /// Returns how long a file is.
    pub fn len(&self, file: DiskFile) -> usize {
        self.shared.lock().files[index(file)].bytes.len()
    }

    /// Changes the bytes of a file behind the store's back, as a disk that rots.
    pub fn rot(&self, file: DiskFile, change: impl FnOnce(&mut Vec<u8>)) {
        let file = &mut self.shared.lock().files[index(file)];
        change(&mut file.bytes);
        file.durable.clone_from(&file.bytes);
    }

    /// Begins an operation that writes: `work` does all of it, or is told how the power goes in its middle.
    fn operate(
        &self,
        work: impl FnOnce(&mut Shared, bool) -> Result<(), DiskError>,
    ) -> Result<(), DiskError> {
        let mut shared = self.shared.lock();
        if shared.cycle != self.cycle {
            return Err(gone());
        }
        let power_goes = shared.faults.power_loss_at == Some(shared.operations);
        shared.operations += 1;
        let outcome = work(&mut shared, power_goes);
        if power_goes {
            shared.lose_power();
            return Err(gone());
        }
        outcome
    }
}

impl Disk for SimDisk {
    fn read(&mut self, file: DiskFile) -> Result<Vec<u8>, DiskError> {
        let shared = self.shared.lock();
        if shared.cycle != self.cycle {
            return Err(gone());
        }
        Ok(shared.files[index(file)].bytes.clone())
    }

    fn append(&mut self, file: DiskFile, bytes: &[u8]) -> Result<(), DiskError> {
        self.operate(|shared, _| {
            let room = shared.faults.room.unwrap_or(u64::MAX);
            let room = room.saturating_sub(shared.used());
            let thousandths = shared.faults.full;
            if shared.happens(thousandths) || room < bytes.len() as u64 {
                let most = bytes.len().min(usize::try_from(room).unwrap_or(usize::MAX));
                let part = shared.below(most);
                shared.files[index(file)].bytes.extend(&bytes[..part]);
                return Err(DiskError::Full);
            }
            shared.files[index(file)].bytes.extend(bytes);
            Ok(())
        })
    }

    fn truncate(&mut self, file: DiskFile, len: u64) -> Result<(), DiskError> {
        self.operate(|shared, _| {
            let len = usize::try_from(len).unwrap_or(usize::MAX);
            shared.files[index(file)].bytes.truncate(len);
            Ok(())
        })
    }

    fn sync(&mut self, file: DiskFile) -> Result<(), DiskError> {
        self.operate(|shared, power_goes| {
            if power_goes {
                return Ok(());
            }
            let thousandths = shared.faults.sync;
            if shared.happens(thousandths) {
                if shared.next() & 1 == 0 {
                    let bytes = shared.after_power_loss(index(file));
                    shared.files[index(file)] = SimFile {
                        durable: bytes.clone(),
                        bytes,
                    };
                }
                return Err(DiskError::Failed {
                    cause: "input/output error".to_owned(),
                });
            }
            shared.syncs += 1;
            let file = &mut shared.files[index(file)];
            file.durable.clone_from(&file.bytes);
            Ok(())
        })
    }

    fn replace(&mut self, file: DiskFile, bytes: &[u8]) -> Result<(), DiskError> {
        self.operate(|shared, power_goes| {
            let room = shared.faults.room.unwrap_or(u64::MAX);
            let thousandths = shared.faults.full;
            let full = shared.used() + bytes.len() as u64 > room;
            if full || shared.happens(thousandths) {
                return Err(DiskError::Full);
            }
            // The rename is made or not; there is no third.
            if !power_goes || shared.next() & 1 == 0 {
                shared.files[index(file)] = SimFile {
                    durable: bytes.to_vec(),
                    bytes: bytes.to_vec(),
                };
            }
            Ok(())
        })
    }
}
