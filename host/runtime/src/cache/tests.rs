#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed step fails the test")]

use std::{num::NonZeroU32, sync::Barrier};

use super::*;
use crate::{Pool, Runtime, Settings};

struct Place {
    folder: tempfile::TempDir,
    key: Option<PathBuf>,
    size: u64,
}

impl Place {
    /// A folder with a key of our own.
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            key: None,
            size: 1 << 30,
        }
    }

    /// A folder with a key that was given: others may write there.
    fn shared() -> Self {
        let place = Self::new();
        let key = place.folder.path().join("given");
        write_new(place.folder.path(), "given", &[&[7; KEY_SIZE]]).unwrap();
        Self {
            key: Some(key),
            ..place
        }
    }

    fn settings(&self) -> CacheSettings {
        CacheSettings {
            folder: self.folder.path().join("cache"),
            size: self.size,
            key: self.key.clone(),
        }
    }

    fn cache(&self) -> Cache {
        Cache::open(&self.settings()).unwrap()
    }

    fn entries(&self) -> Vec<PathBuf> {
        let mut entries: Vec<_> = fs::read_dir(self.folder.path().join("cache"))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        entries.sort();
        entries
    }

    fn runtime(&self) -> Runtime {
        let settings = Settings {
            cache: Some(self.settings()),
            pool: Pool::OnDemand,
            concurrency: NonZeroU32::MIN,
            ..Settings::default()
        };
        Runtime::new(&settings).unwrap()
    }

    fn load(&self, guest: &str) {
        self.runtime().load(&berth_test_guests::component(guest)).unwrap();
    }
}

fn engine() -> Engine {
    crate::engine::engine(&Settings {
        pool: Pool::OnDemand,
        ..Settings::default()
    })
    .unwrap()
}

fn filled(place: &Place, engine: &Engine, guest: &str) -> Digest {
    let bytes = berth_test_guests::component(guest);
    let digest = Digest::of(&bytes);
    place.cache().put(
        engine,
        &digest,
        Component::from_binary(engine, &bytes).unwrap().serialize(),
    );
    digest
}

#[test]
fn an_entry_is_found_by_a_second_process() {
    let engine = engine();
    for place in [Place::new(), Place::shared()] {
        let digest = filled(&place, &engine, "obedient");
        assert!(place.cache().get(&engine, &digest).is_some());
        assert!(place.cache().get(&engine, &Digest::of(b"other")).is_none());
    }
}

#[cfg(target_os = "linux")]
#[test]
fn code_of_a_folder_that_others_may_write_to_is_copied() {
    let engine = engine();
    let code = |place: &Place| {
        filled(place, &engine, "obedient");
        let [path] = &place.entries()[..] else {
            panic!("one entry")
        };
        let name = path.file_name().unwrap().to_str().unwrap();
        let verified = || place.cache().verified(name, File::open(path).unwrap()).unwrap();
        let ours = verified();
        // As if another user had made it.
        fs::set_permissions(path, fs::Permissions::from_mode(0o620)).unwrap();
        [ours, verified()].map(|code| match code {
            Some(Code::Mapped(file)) => fs::read_link(code::path(&file)).is_ok_and(|mapped| &mapped == path),
            _ => false,
        })
    };
    assert_eq!(code(&Place::new()), [true, false]);
    assert_eq!(code(&Place::shared()), [false, false]);
}

#[test]
fn an_entry_that_is_replaced_while_it_is_loaded_is_loaded_as_it_was_verified() {
    let (place, engine) = (Place::new(), engine());
    filled(&place, &engine, "obedient");
    let [path] = &place.entries()[..] else {
        panic!("one entry")
    };
    let name = path.file_name().unwrap().to_str().unwrap();
    let verified = place.cache().verified(name, File::open(path).unwrap()).unwrap();
    fs::remove_file(path).unwrap();
    fs::write(path, "something else").unwrap();
    assert!(load(&engine, &verified.unwrap()).is_ok());
}

#[test]
fn a_damaged_entry_is_noticed_and_removed() {
    let engine = engine();
    let damages: [fn(&mut Vec<u8>); 6] = [
        |entry| entry.truncate(entry.len() / 2),
        |entry| entry.truncate(10),
        |entry| entry.clear(),
        |entry| *entry.last_mut().unwrap() ^= 1,
        |entry| entry[MAGIC.len()] ^= 1,
        |entry| entry.push(0),
    ];
    let places = [Place::new as fn() -> Place, Place::shared];
    for (number, (damage, place)) in damages
        .iter()
        .flat_map(|one| places.map(|place| (one, place)))
        .enumerate()
    {
        let place = place();
        let digest = filled(&place, &engine, "obedient");
        let [path] = &place.entries()[..] else {
            panic!("one entry")
        };
        let mut entry = fs::read(path).unwrap();
        damage(&mut entry);
        fs::write(path, entry).unwrap();
        assert!(place.cache().get(&engine, &digest).is_none(), "damage {number}");
        assert!(place.entries().is_empty(), "damage {number}");
    }
}

#[test]
fn every_single_changed_bit_of_both_ends_is_noticed() {
    let (place, engine) = (Place::new(), engine());
    filled(&place, &engine, "obedient");
    let [path] = &place.entries()[..] else {
        panic!("one entry")
    };
    let name = path.file_name().unwrap().to_str().unwrap();
    let (cache, entry) = (place.cache(), fs::read(path).unwrap());
    let verified = |entry: &[u8]| {
        let path = place.folder.path().join("changed");
        fs::write(&path, entry).unwrap();
        cache.verified(name, File::open(path).unwrap()).unwrap()
    };
    assert!(verified(&entry).is_some());
    let bits = entry.len() * 8;
    for bit in (0..64 * 8).chain(bits - (TRAILER_SIZE + 64) * 8..bits) {
        let mut entry = entry.clone();
        entry[bit / 8] ^= 1 << (bit % 8);
        assert!(verified(&entry).is_none(), "bit {bit}");
    }
}

#[test]
fn swapped_entries_are_noticed() {
    let (place, engine) = (Place::new(), engine());
    let (one, two) = (filled(&place, &engine, "obedient"), filled(&place, &engine, "traps"));
    let [first, second] = &place.entries()[..] else {
        panic!("two entries")
    };
    let aside = place.folder.path().join("aside");
    fs::rename(first, &aside).unwrap();
    fs::rename(second, first).unwrap();
    fs::rename(&aside, second).unwrap();
    assert!(place.cache().get(&engine, &one).is_none());
    assert!(place.cache().get(&engine, &two).is_none());
}

#[test]
fn an_entry_under_another_key_is_not_loaded() {
    let (place, engine) = (Place::new(), engine());
    let digest = filled(&place, &engine, "obedient");
    let key = place.folder.path().join("cache.key");
    fs::remove_file(&key).unwrap();
    assert!(place.cache().get(&engine, &digest).is_none());
}

#[test]
fn a_runtime_rebuilds_what_was_damaged() {
    let place = Place::new();
    place.load("obedient");
    let [path] = &place.entries()[..] else {
        panic!("one entry")
    };
    let sound = fs::read(path).unwrap();
    fs::write(path, b"damaged").unwrap();
    place.load("obedient");
    assert_eq!(fs::read(path).unwrap().len(), sound.len());
    place.load("obedient");
    assert_eq!(place.entries().len(), 1);
}

#[test]
fn a_plugin_whose_code_is_sound_is_known_without_its_bytes() {
    let place = Place::new();
    let digest = Digest::of(&berth_test_guests::component("obedient"));
    assert!(place.runtime().known(&digest).is_none());
    place.load("obedient");
    let runtime = place.runtime();
    assert_eq!(runtime.known(&digest).unwrap().digest(), &digest);
    assert!(runtime.known(&Digest::of(b"other")).is_none());
    let entry = place.entries().remove(0);
    let mut code = fs::read(&entry).unwrap();
    *code.last_mut().unwrap() ^= 1;
    fs::remove_file(&entry).unwrap();
    fs::write(&entry, code).unwrap();
    assert!(place.runtime().known(&digest).is_none());
}

/// The names of an engine's entries for guests.
fn names(engine: &Engine, guests: &[&str]) -> Vec<PathBuf> {
    let name = |guest: &&str| entry_name(engine, &Digest::of(&berth_test_guests::component(guest)));
    guests.iter().map(name).map(PathBuf::from).collect()
}

/// What a place holds, by the names of the guests.
fn kept(place: &Place, engine: &Engine, guests: &[&'static str]) -> Vec<&'static str> {
    let there: Vec<_> = place
        .entries()
        .iter()
        .map(|path| PathBuf::from(path.file_name().unwrap()))
        .collect();
    let names = names(engine, guests);
    let found = guests.iter().zip(names).filter(|(_, name)| there.contains(name));
    found.map(|(guest, _)| *guest).collect()
}

/// Lets an entry have been used so many seconds ago.
fn aged(place: &Place, engine: &Engine, guest: &str, seconds: u64) {
    let path = place.settings().folder.join(&names(engine, &[guest])[0]);
    let used = std::time::SystemTime::now() - std::time::Duration::from_secs(seconds);
    File::open(path).unwrap().set_modified(used).unwrap();
}

#[test]
fn what_was_used_longest_ago_goes_first_when_the_folder_is_full() {
    const GUESTS: [&str; 4] = ["obedient", "traps", "loops", "fails"];
    let engine = engine();
    let mut place = Place::new();
    for (age, guest) in GUESTS[..3].iter().enumerate() {
        filled(&place, &engine, guest);
        aged(&place, &engine, guest, 300 - 100 * age as u64);
    }
    // A folder beside, and what a process that was killed has left long ago.
    let folder = place.settings().folder;
    fs::create_dir(folder.join("plugins")).unwrap();
    fs::write(folder.join(".left"), "half").unwrap();
    let old = std::time::SystemTime::now() - std::time::Duration::from_secs(4000);
    File::open(folder.join(".left")).unwrap().set_modified(old).unwrap();

    // Used again, so the second is the one that goes.
    let digest = |guest| Digest::of(&berth_test_guests::component(guest));
    let running = place.cache().get(&engine, &digest("obedient")).unwrap();
    let sizes = GUESTS[..3].iter().map(|guest| {
        let name = &names(&engine, &[guest])[0];
        fs::metadata(folder.join(name)).unwrap().len()
    });
    // Room for three and a half.
    place.size = sizes.sum::<u64>() * 7 / 6;
    filled(&place, &engine, "fails");
    assert_eq!(kept(&place, &engine, &GUESTS), ["obedient", "loops", "fails"]);
    assert!(folder.join("plugins").is_dir());
    assert!(!folder.join(".left").exists());

    // Nothing stays that is larger than all may be, and code that is in use does not mind.
    place.size = 1000;
    filled(&place, &engine, "traps");
    assert_eq!(kept(&place, &engine, &GUESTS), [""; 0]);
    assert!(running.serialize().is_ok());
}

#[test]
fn several_processes_may_shrink_one_folder() {
    const GUESTS: [&str; 6] = ["obedient", "traps", "loops", "fails", "exits", "echo"];
    let engine = engine();
    let mut place = Place::new();
    let digest = filled(&place, &engine, "obedient");
    let size = fs::metadata(&place.entries()[0]).unwrap().len();
    place.size = 3 * size;
    let barrier = Barrier::new(GUESTS.len());
    std::thread::scope(|scope| {
        for guest in GUESTS {
            let (place, engine, barrier, digest) = (&place, &engine, &barrier, &digest);
            scope.spawn(move || {
                let bytes = berth_test_guests::component(guest);
                let component = Component::from_binary(engine, &bytes).unwrap();
                let cache = place.cache();
                barrier.wait();
                cache.put(engine, &Digest::of(&bytes), component.serialize());
                // Whatever is there is whole.
                drop(cache.get(engine, digest));
            });
        }
    });
    place.cache().put(
        &engine,
        &digest,
        Component::from_binary(&engine, &berth_test_guests::component("obedient"))
            .unwrap()
            .serialize(),
    );
    let total: u64 = place
        .entries()
        .iter()
        .map(|path| fs::metadata(path).unwrap().len())
        .sum();
    assert!(total <= place.size, "{total}");
    assert!(place.cache().get(&engine, &digest).is_some());
}

#[test]
fn many_processes_may_write_one_entry() {
    let (place, engine) = (Place::new(), engine());
    let bytes = berth_test_guests::component("obedient");
    let digest = Digest::of(&bytes);
    let component = Component::from_binary(&engine, &bytes).unwrap();
    let barrier = Barrier::new(8);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                // The key is made by whoever comes first, too.
                barrier.wait();
                let cache = place.cache();
                cache.put(&engine, &digest, component.serialize());
                assert!(cache.get(&engine, &digest).is_some());
            });
        }
    });
    assert_eq!(place.entries().len(), 1);
}

#[test]
fn the_key_is_ours_alone() {
    let place = Place::new();
    place.cache();
    let key = place.folder.path().join("cache.key");
    assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    assert!(matches!(
        Cache::open(&place.settings()),
        Err(CacheError::OpenKey { mode: 0o644, .. })
    ));
    let given = place.folder.path().join("given");
    let with = || {
        Cache::open(&CacheSettings {
            key: Some(given.clone()),
            ..place.settings()
        })
    };
    assert!(matches!(with(), Err(CacheError::Key { .. })));
    write_new(place.folder.path(), "given", &[b"short"]).unwrap();
    assert!(matches!(with(), Err(CacheError::ShortKey { size: 5, .. })));
}
