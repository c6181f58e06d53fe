//! The kubelets: how pods start, run and end.

use std::time::Duration;

use serde_json::{Value, json};

use super::{
    clock::later,
    document,
    model::{Model, Pace},
    store::Key,
};

/// Annotation of a pod: how it ends. `ok`, `fail`, `hang` or `image-pull-backoff`.
const OUTCOME: &str = "test/outcome";
/// Annotation of a pod: with which exit code it fails.
const EXIT_CODE: &str = "test/exit-code";
/// Annotation of a pod: with which termination message it ends.
const MESSAGE: &str = "test/message";

/// How containers of an image behave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImageBehaviour {
    /// There is no such image.
    Missing,
    /// They end by themselves.
    ExitsWith {
        /// The exit code.
        code: i32,
        /// The termination message.
        message: String,
        /// How long they run.
        after: Duration,
    },
    /// They are killed because they use more memory than they may.
    OutOfMemory {
        /// How long they run.
        after: Duration,
    },
    /// They run until they are stopped.
    Runs,
}

/// What a container does once it is set up.
enum Course {
    Runs,
    Ends {
        code: i32,
        reason: &'static str,
        message: String,
        after: Duration,
    },
}

impl Model {
    /// One step of a pod.
    pub(super) fn pod(&mut self, key: &Key, pod: &Value) {
        self.stop_tracking(key, pod);
        let Some(pod) = self.store.document(key).cloned() else {
            return;
        };
        let phase = document::text(&pod, &["status", "phase"])
            .unwrap_or("Pending")
            .to_owned();
        if document::is_deleting(&pod) {
            self.stop_pod(key, &phase);
        } else if phase == "Pending" {
            self.bring_up(key, &pod);
        } else if phase == "Running" {
            self.run_on(key, &pod);
        }
    }

    fn stop_pod(&mut self, key: &Key, phase: &str) {
        let begun = self.store.mark(key, "deletion", self.now);
        let stopped = later(begun, self.pace.stop);
        if phase == "Running" && stopped > self.now {
            self.again_at(key, stopped);
            return;
        }
        if matches!(phase, "Running" | "Pending") {
            // So that whoever counts the pod sees how it ended.
            self.store
                .change(key, |pod| document::set(pod, &["status", "phase"], json!("Failed")));
        }
        self.remove_if_free(key);
    }

    fn bring_up(&mut self, key: &Key, pod: &Value) {
        if document::text(pod, &["spec", "nodeName"]).is_none() {
            self.schedule(key, pod);
            return;
        }
        let scheduled = self.store.mark(key, "scheduled", self.now);
        let ready = later(scheduled, self.pace.start);
        if ready > self.now {
            self.again_at(key, ready);
            return;
        }
        if let Some(again) = self.store.marked(key, "again").filter(|again| *again > self.now) {
            self.again_at(key, again);
            return;
        }
        let all_missing = annotation(pod, OUTCOME) == Some("image-pull-backoff");
        let images = document::items(pod, &["spec", "containers"]).iter();
        let missing = images
            .filter_map(|container| container["image"].as_str())
            .find(|image| all_missing || matches!(self.images.get(*image), Some(ImageBehaviour::Missing)));
        if let Some(image) = missing {
            self.pull_in_vain(key, pod, image);
            return;
        }
        if let Some(problem) = self.missing_configuration(key, pod) {
            self.event(key, "Warning", "Failed", &format!("Error: {problem}"));
            self.wait_with(key, pod, "CreateContainerConfigError", |_| problem.clone());
            self.try_again(key, self.pace.retry);
            return;
        }
        self.start(key, pod, &[]);
    }

    fn pull_in_vain(&mut self, key: &Key, pod: &Value, image: &str) {
        let message = format!(
            "Failed to pull image \"{image}\": rpc error: code = NotFound desc = failed to pull and unpack image \
             \"{image}\": not found"
        );
        // A try and a pause take turns for ever.
        if self.store.marked(key, "pull").is_none() {
            self.store.mark(key, "pull", self.now);
            self.event(key, "Warning", "Failed", &message);
            self.event(key, "Warning", "Failed", "Error: ErrImagePull");
            self.wait_with(key, pod, "ErrImagePull", |_| message.clone());
            // The kubelet backs off before it pulls again; that is when it is sure.
            self.try_again(key, self.pace.start);
        } else {
            self.store.unmark(key, "pull");
            self.event(key, "Warning", "Failed", "Error: ImagePullBackOff");
            self.wait_with(key, pod, "ImagePullBackOff", |image| {
                format!("Back-off pulling image \"{image}\": ErrImagePull: {message}")
            });
            self.try_again(key, self.pace.retry);
        }
    }

    /// Leaves a pod that could not be brought up alone for a while.
    fn try_again(&mut self, key: &Key, pause: Duration) {
        let again = later(self.now, pause);
        self.store.unmark(key, "again");
        self.store.mark(key, "again", again);
        self.again_at(key, again);
    }

    /// What a container refers to and does not exist, as the kubelet says it.
    fn missing_configuration(&self, key: &Key, pod: &Value) -> Option<String> {
        let check = |kind: &str, reference: &Value| {
            let name = reference["name"].as_str()?;
            if reference["optional"] == true {
                return None;
            }
            let word = kind.to_lowercase();
            match self.store.document(&Key::new("v1", kind, &key.namespace, name)) {
                None => Some(format!("{word} \"{name}\" not found")),
                Some(found) => {
                    let wanted = reference["key"].as_str()?;
                    let has = ["data", "stringData", "binaryData"]
                        .iter()
                        .any(|data| found[*data].get(wanted).is_some());
                    let whole = format!("{}/{name}", key.namespace);
                    (!has).then(|| format!("couldn't find key {wanted} in {kind} {whole}"))
                }
            }
        };
        document::items(pod, &["spec", "containers"])
            .iter()
            .find_map(|container| {
                let all = document::items(container, &["envFrom"]).iter().find_map(|from| {
                    check("Secret", &from["secretRef"]).or_else(|| check("ConfigMap", &from["configMapRef"]))
                });
                all.or_else(|| {
                    document::items(container, &["env"]).iter().find_map(|variable| {
                        let from = &variable["valueFrom"];
                        check("Secret", &from["secretKeyRef"]).or_else(|| check("ConfigMap", &from["configMapKeyRef"]))
                    })
                })
            })
    }

    /// Makes every container wait for the same reason.
    fn wait_with(&mut self, key: &Key, pod: &Value, reason: &str, message: impl Fn(&str) -> String) {
        let statuses: Vec<Value> = document::items(pod, &["spec", "containers"])
            .iter()
            .map(|container| {
                let message = message(container["image"].as_str().unwrap_or_default());
                json!({
                    "name": container["name"], "image": container["image"], "ready": false, "restartCount": 0,
                    "state": {"waiting": {"reason": reason, "message": message}},
                })
            })
            .collect();
        let now = self.time();
        self.store.change(key, |pod| {
            document::default(pod, &["status", "startTime"], json!(now));
            document::set(pod, &["status", "containerStatuses"], json!(statuses));
        });
    }

    /// Starts, or restarts, the containers of a pod.
    fn start(&mut self, key: &Key, pod: &Value, before: &[Value]) {
        let now = self.time();
        self.store.unmark(key, "running");
        self.store.mark(key, "running", self.now);
        let statuses: Vec<Value> = document::items(pod, &["spec", "containers"])
            .iter()
            .enumerate()
            .map(|(at, container)| {
                let old = before.get(at).unwrap_or(&Value::Null);
                let mut status = json!({
                    "name": container["name"], "image": container["image"], "ready": true, "started": true,
                    "restartCount": old["restartCount"].as_i64().unwrap_or(0),
                    "state": {"running": {"startedAt": now}},
                });
                if let Some(last) = old.get("lastState") {
                    status["lastState"] = last.clone();
                }
                status
            })
            .collect();
        self.store.change(key, |pod| {
            document::default(pod, &["status", "startTime"], json!(now));
            document::set(pod, &["status", "phase"], json!("Running"));
            document::set(pod, &["status", "containerStatuses"], json!(statuses));
            for condition in ["Initialized", "ContainersReady", "Ready"] {
                document::set_condition(pod, condition, true, "", "", &now);
            }
        });
        self.event(key, "Normal", "Started", "Started container");
    }

    fn run_on(&mut self, key: &Key, pod: &Value) {
        let statuses = document::items(pod, &["status", "containerStatuses"]).to_vec();
        let waits = statuses
            .iter()
            .any(|status| document::at(status, &["state", "waiting"]).is_some());
        if waits {
            let restart = self.store.marked(key, "restart").unwrap_or(self.now);
            if restart > self.now {
                self.again_at(key, restart);
            } else {
                self.start(key, pod, &statuses);
            }
            return;
        }
        let containers = document::items(pod, &["spec", "containers"]);
        let courses: Vec<Course> = containers.iter().map(|container| self.course(pod, container)).collect();
        let mut ends = Vec::new();
        for course in courses {
            match course {
                Course::Runs => return,
                Course::Ends {
                    code,
                    reason,
                    message,
                    after,
                } => ends.push((code, reason, message, after)),
            }
        }
        let running = self.store.mark(key, "running", self.now);
        let longest = ends.iter().map(|(_, _, _, after)| *after).max().unwrap_or_default();
        let end = later(running, longest);
        if end > self.now {
            self.again_at(key, end);
            return;
        }
        self.end(key, pod, &statuses, &ends);
    }

    fn end(&mut self, key: &Key, pod: &Value, before: &[Value], ends: &[(i32, &'static str, String, Duration)]) {
        let now = self.time();
        let failed = ends.iter().any(|(code, ..)| *code != 0);
        let restarts = match document::text(pod, &["spec", "restartPolicy"]) {
            Some("Never") => false,
            Some("OnFailure") => failed,
            Some(_) | None => true,
        };
        let mut most = 0;
        let statuses: Vec<Value> = before
            .iter()
            .zip(ends)
            .map(|(status, (code, reason, message, _))| {
                let mut terminated = json!({
                    "exitCode": code, "reason": reason, "finishedAt": now,
                    "startedAt": status["state"]["running"]["startedAt"],
                });
                if !message.is_empty() {
                    terminated["message"] = json!(message);
                }
                let mut status = status.clone();
                status["ready"] = json!(false);
                status["started"] = json!(false);
                if restarts {
                    let count = status["restartCount"].as_i64().unwrap_or(0) + 1;
                    most = most.max(count);
                    let text = format!("back-off restarting failed container {}", status["name"]);
                    status["restartCount"] = json!(count);
                    status["lastState"] = json!({"terminated": terminated});
                    status["state"] = json!({"waiting": {"reason": "CrashLoopBackOff", "message": text}});
                } else {
                    status["state"] = json!({"terminated": terminated});
                }
                status
            })
            .collect();
        self.store.change(key, |pod| {
            document::set(pod, &["status", "containerStatuses"], json!(statuses));
            let phase = match (restarts, failed) {
                (true, _) => "Running",
                (false, true) => "Failed",
                (false, false) => "Succeeded",
            };
            document::set(pod, &["status", "phase"], json!(phase));
            for condition in ["ContainersReady", "Ready"] {
                let reason = if failed || restarts {
                    "ContainersNotReady"
                } else {
                    "PodCompleted"
                };
                document::set_condition(pod, condition, false, reason, "", &now);
            }
        });
        if restarts {
            self.event(key, "Warning", "BackOff", "Back-off restarting failed container");
            let restart = later(self.now, self.pace.pause(most));
            self.store.unmark(key, "restart");
            self.store.mark(key, "restart", restart);
            self.again_at(key, restart);
        }
    }

    /// What a container does: as its pod's annotations say, else its image, else as its pod is meant.
    fn course(&self, pod: &Value, container: &Value) -> Course {
        let Pace { run, .. } = self.pace;
        let serves = document::text(pod, &["spec", "restartPolicy"]).is_none_or(|policy| policy == "Always");
        let said = annotation(pod, MESSAGE).unwrap_or_default().to_owned();
        match annotation(pod, OUTCOME) {
            Some("hang") => return Course::Runs,
            Some("ok") if serves => return Course::Runs,
            Some("ok") => return ends(0, said, run),
            Some("fail") => {
                let code = annotation(pod, EXIT_CODE)
                    .and_then(|code| code.parse().ok())
                    .unwrap_or(1);
                return ends(code, said, run);
            }
            Some(_) | None => {}
        }
        match container["image"].as_str().and_then(|image| self.images.get(image)) {
            Some(ImageBehaviour::ExitsWith { code, message, after }) => ends(*code, message.clone(), *after),
            Some(ImageBehaviour::OutOfMemory { after }) => Course::Ends {
                code: 137,
                reason: "OOMKilled",
                message: String::new(),
                after: *after,
            },
            Some(ImageBehaviour::Runs) => Course::Runs,
            // An image that was there when the pod started runs on when it vanishes from the registry.
            Some(ImageBehaviour::Missing) | None if serves => Course::Runs,
            Some(ImageBehaviour::Missing) | None => ends(0, said, run),
        }
    }
}

fn ends(code: i32, message: String, after: Duration) -> Course {
    let reason = match code {
        0 => "Completed",
        137 => "OOMKilled",
        _ => "Error",
    };
    Course::Ends {
        code,
        reason,
        message,
        after,
    }
}

fn annotation<'a>(pod: &'a Value, name: &str) -> Option<&'a str> {
    document::text(pod, &["metadata", "annotations", name])
}
