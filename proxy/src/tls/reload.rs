//! What is made of files that change while the gateway runs: they are looked at again and again, and files that cannot be used
//! change nothing.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use arc_swap::ArcSwap;
use kite_api::error_chain;
use tokio::{
    sync::watch,
    time::{MissedTickBehavior, interval},
};

use super::{Files, TlsError};

/// How often a folder is looked at. A kubelet takes up to a minute to bring a new Secret, and reading two small files costs nothing.
pub const LOOK: Duration = Duration::from_secs(3);

/// What is made of the files of a folder as they are now. A mounted Secret is swapped as a whole, by a link; who reads just then
/// sees files of both, which fit together at the next look.
pub struct Reloaded<C> {
    dir: PathBuf,
    names: &'static [&'static str],
    make: Make<C>,
    current: ArcSwap<C>,
    state: Mutex<State>,
    /// How often new files were taken.
    renewals: watch::Sender<u64>,
}

/// Makes something of files.
type Make<C> = Box<dyn Fn(&Files) -> Result<C, TlsError> + Send + Sync>;

struct State {
    used: Files,
    /// Why the files that are there now are not used, if they are not.
    refused: Option<String>,
}

impl<C: Send + Sync + 'static> Reloaded<C> {
    /// What `make` makes of the files `names` in `dir`.
    pub(super) async fn new(
        dir: &Path,
        names: &'static [&'static str],
        make: impl Fn(&Files) -> Result<C, TlsError> + Send + Sync + 'static,
    ) -> Result<Self, TlsError> {
        let used = Files::read(dir, names).await?;
        let current = ArcSwap::from_pointee(make(&used)?);
        Ok(Self {
            dir: dir.to_owned(),
            names,
            make: Box::new(make),
            current,
            state: Mutex::new(State { used, refused: None }),
            renewals: watch::Sender::new(0),
        })
    }

    pub fn current(&self) -> Arc<C> {
        self.current.load_full()
    }

    /// Why the files that are there now are not used, if they are not.
    pub fn refused(&self) -> Option<String> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.refused.clone()
    }

    /// How often new files were taken, now and after each time.
    pub fn renewals(&self) -> watch::Receiver<u64> {
        self.renewals.subscribe()
    }

    /// Looks at the files `every` so often, for as long as it is polled.
    pub async fn renew(&self, every: Duration) {
        let mut looks = interval(every);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            looks.tick().await;
            self.look().await;
        }
    }

    async fn look(&self) {
        let read = Files::read(&self.dir, self.names).await;
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let made = match read {
            Ok(files) if files == state.used => {
                state.refused = None;
                return;
            }
            Ok(files) => (self.make)(&files).map(|made| (files, made)),
            Err(error) => Err(error),
        };
        let folder = self.dir.display();
        match made {
            Ok((files, made)) => {
                self.current.store(Arc::new(made));
                *state = State {
                    used: files,
                    refused: None,
                };
                self.renewals.send_modify(|renewals| *renewals += 1);
                tracing::info!(%folder, "new certificates are used");
            }
            Err(error) => {
                let error = error_chain(&error);
                // Told once, and not at each look.
                if state.refused.as_ref() != Some(&error) {
                    tracing::warn!(%folder, error, "the new certificates cannot be used; the old ones are used on");
                }
                state.refused = Some(error);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use rcgen::CertifiedKey;
    use rustls::{ServerConfig, server::WebPkiClientVerifier};
    use tempfile::TempDir;

    use super::*;
    use crate::tls;

    /// A folder as a kubelet mounts a Secret: files that are links into a folder that is a link.
    struct Mounted(TempDir);

    fn pair() -> (String, String) {
        let CertifiedKey { cert, signing_key } = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        (cert.pem(), signing_key.serialize_pem())
    }

    impl Mounted {
        fn new((certificate, key): (&str, &str)) -> Self {
            let mounted = Self(tempfile::tempdir().unwrap());
            mounted.swap("1", (certificate, key));
            for file in ["tls.crt", "tls.key"] {
                symlink(Path::new("..data").join(file), mounted.path().join(file)).unwrap();
            }
            mounted
        }

        fn path(&self) -> &Path {
            self.0.path()
        }

        fn swap(&self, name: &str, (certificate, key): (&str, &str)) {
            let folder = self.path().join(name);
            fs::create_dir(&folder).unwrap();
            fs::write(folder.join("tls.crt"), certificate).unwrap();
            fs::write(folder.join("tls.key"), key).unwrap();
            let link = self.path().join("..data_tmp");
            symlink(name, &link).unwrap();
            fs::rename(link, self.path().join("..data")).unwrap();
        }

        async fn serving(&self) -> Reloaded<ServerConfig> {
            tls::serving(self.path(), WebPkiClientVerifier::no_client_auth())
                .await
                .unwrap()
        }
    }

    #[tokio::test]
    async fn a_swapped_secret_is_used_without_a_restart() {
        let ((old, old_key), (new, new_key)) = (pair(), pair());
        let mounted = Mounted::new((&old, &old_key));
        let serving = mounted.serving().await;
        let first = serving.current();
        serving.look().await;
        assert!(Arc::ptr_eq(&first, &serving.current()), "nothing has changed");
        mounted.swap("2", (&new, &new_key));
        serving.look().await;
        assert!(!Arc::ptr_eq(&first, &serving.current()));
        assert_eq!((*serving.renewals().borrow(), serving.refused()), (1, None));
    }

    #[tokio::test]
    async fn files_that_cannot_be_used_leave_the_old_ones_and_are_told() {
        let ((old, old_key), (new, new_key)) = (pair(), pair());
        let mounted = Mounted::new((&old, &old_key));
        let serving = mounted.serving().await;
        let first = serving.current();
        for (name, spoilt, reason) in [
            (
                "key-of-another",
                (new.as_str(), old_key.as_str()),
                "failed to use certificates and key of",
            ),
            ("empty", ("", &new_key), "failed to find a certificate in"),
            ("no-key", (&new, "junk"), "failed to parse"),
        ] {
            mounted.swap(name, spoilt);
            serving.look().await;
            let refused = serving.refused().unwrap_or_default();
            assert!(refused.starts_with(reason), "{name}: {refused}");
            assert!(Arc::ptr_eq(&first, &serving.current()), "{name}");
        }
        fs::remove_file(mounted.path().join("tls.key")).unwrap();
        serving.look().await;
        assert!(serving.refused().unwrap().starts_with("failed to read"));
        symlink("..data/tls.key", mounted.path().join("tls.key")).unwrap();
        mounted.swap("good", (&new, &new_key));
        serving.look().await;
        assert!(!Arc::ptr_eq(&first, &serving.current()));
        assert_eq!((*serving.renewals().borrow(), serving.refused()), (1, None));
    }

    #[tokio::test]
    async fn old_files_that_come_back_are_nothing_to_complain_of() {
        let (old, key) = pair();
        let mounted = Mounted::new((&old, &key));
        let serving = mounted.serving().await;
        mounted.swap("2", ("junk", &key));
        serving.look().await;
        assert!(serving.refused().is_some());
        mounted.swap("3", (&old, &key));
        serving.look().await;
        assert_eq!((*serving.renewals().borrow(), serving.refused()), (0, None));
    }
}
