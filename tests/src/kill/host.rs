//! One host as a supervisor keeps it: killed, replaced, started again.

use std::{
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use tokio::{sync::Mutex, time::Instant};

use super::{
    PATIENCE,
    plan::{Fault, From},
};
use crate::{
    control_plane::{Gate, NetworkPath, Process},
    program,
};

/// How many messages a host has in flight for each subscription.
pub const PREFETCH: usize = 16;

/// What all hosts have in common.
#[derive(Debug, Clone)]
pub struct Common {
    /// Files and logs.
    pub folder: PathBuf,
    /// The topic of the shared subscription.
    pub topic: String,
    /// The namespace of the Leases; none: nothing is shared.
    pub leases: Option<String>,
    /// Further keys of the configuration, an object or null.
    pub further: Value,
}

/// A host's place: its network, and the process that runs in it now.
#[derive(Debug)]
pub struct Host {
    number: usize,
    common: Common,
    gates: Gates,
    /// Locked for as long as something happens to the process.
    process: Mutex<Running>,
    ended: AtomicU32,
}

/// The ways out of a host.
#[derive(Debug)]
pub struct Gates {
    /// To the broker.
    pub broker: Gate,
    /// To Kubernetes.
    pub kubernetes: Gate,
    /// To the HyperFleet API.
    pub fleet: Gate,
}

#[derive(Debug, Default)]
struct Running {
    process: Option<Process>,
    /// How many pods were in this place before.
    pods: u32,
}

impl Host {
    /// A place without a process. `broker` is the URL of the broker, as its gate leads there.
    ///
    /// # Errors
    /// When its files cannot be written.
    pub fn new(number: usize, common: Common, gates: Gates, broker: &str) -> Result<Self> {
        std::fs::write(common.folder.join(format!("broker-{number}")), broker)?;
        Ok(Self {
            number,
            common,
            gates,
            process: Mutex::default(),
            ended: AtomicU32::new(0),
        })
    }

    /// Starts the program, if it does not run.
    ///
    /// # Errors
    /// When it cannot be started.
    pub async fn start(&self) -> Result<()> {
        let mut running = self.process.lock().await;
        if running.process.is_none() {
            self.spawn(&mut running)?;
        }
        Ok(())
    }

    /// Kills the program, and starts it again later.
    ///
    /// # Errors
    /// When it cannot be started.
    pub async fn kill(&self, away: Duration, replaced: bool) -> Result<()> {
        let mut running = self.process.lock().await;
        running.process = None;
        tokio::time::sleep(away).await;
        running.pods += u32::from(replaced);
        self.spawn(&mut running)
    }

    /// Ends the program as Kubernetes does: it may finish.
    ///
    /// # Errors
    /// When it does not end in time.
    pub async fn stop(&self) -> Result<()> {
        let mut running = self.process.lock().await;
        let Some(mut process) = running.process.take() else {
            return Ok(());
        };
        process.terminate()?;
        let end = Instant::now() + PATIENCE;
        while !process.has_ended()? {
            ensure!(Instant::now() < end, "host {} does not stop", self.number);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }

    /// Starts the program again if it ended by itself, as kubelets do. A host that something
    /// happens to is left alone.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn look_after(&self) -> Result<()> {
        let Ok(mut running) = self.process.try_lock() else {
            return Ok(());
        };
        if let Some(process) = &mut running.process
            && process.has_ended()?
        {
            self.ended.fetch_add(1, Ordering::Relaxed);
            self.spawn(&mut running)?;
        }
        Ok(())
    }

    /// How often it ended by itself since this was asked last.
    pub fn take_ended(&self) -> u32 {
        self.ended.swap(0, Ordering::Relaxed)
    }

    /// The process of the program, for its memory and time; none if it does not run.
    pub async fn process_id(&self) -> Option<u32> {
        self.process.lock().await.process.as_ref()?.child_id()
    }

    /// Cuts it off for a while.
    pub async fn cut(&self, fault: &Fault) {
        let Fault::Cut { from, silent, away, .. } = fault else {
            return;
        };
        let gate = match from {
            From::Broker => &self.gates.broker,
            From::Kubernetes => &self.gates.kubernetes,
            From::Fleet => &self.gates.fleet,
        };
        gate.set(if *silent {
            NetworkPath::Silent
        } else {
            NetworkPath::Refused
        });
        tokio::time::sleep(*away).await;
        gate.set(NetworkPath::Open);
    }

    /// Opens all ways.
    pub fn heal(&self) {
        for gate in [&self.gates.broker, &self.gates.kubernetes, &self.gates.fleet] {
            gate.set(NetworkPath::Open);
        }
    }

    /// What it logged: JSON lines.
    pub fn log(&self) -> PathBuf {
        self.common.folder.join(format!("host-{}.log", self.number))
    }

    /// What it logged when it was ready, which it may not be yet.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn ready(&self) -> Result<Option<Value>> {
        let text = std::fs::read_to_string(self.log())?;
        let mut lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        Ok(lines.find(|line| line["message"] == "berth is ready"))
    }

    fn spawn(&self, running: &mut Running) -> Result<()> {
        let folder = &self.common.folder;
        let file = |name: &str| folder.join(format!("{name}-{}", self.number));
        let mut settings = json!({
            "fleet": {"url": format!("http://127.0.0.1:{}", self.gates.fleet.port())},
            "kubernetes": {"kubeconfig": self.gates.kubernetes.kubeconfig()},
            "adapters": folder.join("adapters"),
            "sources": {
                "http": {"listen": "127.0.0.1:0"},
                "rabbitmq": {
                    "urlFile": file("broker"), "topic": self.common.topic, "subscription": "berth", "prefetch": PREFETCH,
                },
            },
            "admin": {"listen": "127.0.0.1:0"},
            "cache": folder.join("cache"),
            "log": {"format": "json", "level": "info"},
        });
        if let Some(namespace) = &self.common.leases {
            let name = format!("berth-{}-{}", self.number, running.pods);
            settings["leases"] = json!({"namespace": namespace, "group": "kill", "host": name});
        }
        if let (Some(settings), Some(further)) = (settings.as_object_mut(), self.common.further.as_object()) {
            settings.extend(further.clone());
        }
        let config = file("berth").with_extension("yaml");
        // JSON is YAML.
        std::fs::write(&config, settings.to_string())?;
        // The developer's settings are no settings of a pod.
        let arguments = [
            "-i".to_owned(),
            format!("HOME={}", folder.display()),
            program::berth()?.display().to_string(),
            "serve".to_owned(),
            "--config".to_owned(),
            config.display().to_string(),
        ];
        running.process = Some(Process::spawn(Path::new("/usr/bin/env"), &arguments, &self.log())?);
        Ok(())
    }
}
