"""The landing zone adapter in Python: checks whether a landing zone can be set up for a
cluster, and sets it up by a Job. It decides only; the host reads, creates and reports."""

import json

from componentize_py_types import Err
from wit_world.exports import postconditions, preconditions, resources, status
from wit_world.imports import log
from wit_world.imports.types import Condition, Failure, Truth

EXIT_CODES = {
    10: ("CredentialsRejected", "The cloud credentials were rejected: {}. Renew them and change the cluster to try again."),
    11: ("RegionNotEnabled", "The region is not enabled for the account: {}. Enable it, or choose another region."),
    12: ("NetworkRangeOverlaps", "The network range overlaps another one: {}. Choose another `networkCidr`."),
}


def read(facts):
    """What every phase needs: the configuration and the cluster's spec."""
    return json.loads(facts.config), json.loads(facts.subject.document)["spec"]


def zone(facts):
    """The landing zone's name, which its objects have too."""
    return "lz-" + facts.subject.id.lower()


class Preconditions:
    def evaluate(self, facts):
        config, spec = read(facts)
        try:
            provider, region = spec["provider"], spec["region"]
        except KeyError as missing:
            raise Err(Failure("SpecInvalid", f"The cluster's spec has no {missing}."))
        verdict = preconditions.Verdict_Proceed()
        if provider != config["provider"]:
            verdict = preconditions.Verdict_NotApplicable(
                f"the provider is {provider}, and landing zones are made for {config['provider']} only"
            )
        elif region not in config["regions"]:
            message = f"region {region} is not served; served are {', '.join(config['regions'])}"
            verdict = preconditions.Verdict_Wait(preconditions.Waiting([preconditions.Unmet("region", message)], None))
        return preconditions.Answer(verdict, "null")


class Resources:
    def plan_objects(self, facts, objects):
        # An empty plan lets the host delete everything: that is all a deletion needs.
        if facts.subject.deleting:
            return resources.Plan([], False, "null")
        config, spec = read(facts)
        log.emit(log.Level.INFO, f"planning the landing zone of {facts.subject.id}")
        name, network = zone(facts), spec.get("networkCidr", "10.0.0.0/16")
        annotations = spec.get("jobAnnotations", {})
        parameters = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": name},
            "data": {"region": spec["region"], "networkCidr": network},
        }
        container = {
            "name": "landing-zone",
            "image": config["image"],
            "args": [f"--cluster={facts.subject.id}", f"--region={spec['region']}", f"--network-cidr={network}"],
            "envFrom": [{"configMapRef": {"name": name}}],
        }
        job = {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": {"name": name, "annotations": annotations},
            "spec": {
                "backoffLimit": 2,
                "template": {
                    "metadata": {"annotations": annotations},
                    "spec": {"restartPolicy": "Never", "containers": [container]},
                },
            },
        }
        apply = [
            resources.Operation_Apply(resources.Manifest("parameters", json.dumps(parameters), False, [])),
            resources.Operation_Apply(resources.Manifest("job", json.dumps(job), False, ["parameters"])),
        ]
        return resources.Plan(apply, False, "null")


class Postconditions:
    def evaluate(self, facts, objects):
        outcome = postconditions.Outcome_Pending(postconditions.Progress("the landing zone is being set up", None))
        for job in (each for each in objects if each.name == "job"):
            for condition in json.loads(job.document).get("status", {}).get("conditions", []):
                if condition["status"] != "True":
                    continue
                if condition["type"] == "Complete":
                    outcome = postconditions.Outcome_Achieved()
                elif condition["type"] == "Failed":
                    outcome = postconditions.Outcome_Failed(explain(job.diagnosis, condition.get("message", "")))
        return postconditions.Answer(outcome, "null")


def explain(diagnosis, otherwise):
    """What the Job's exit code means to whoever owns the cluster."""
    code = diagnosis.exit_code if diagnosis else None
    said = (diagnosis.termination_message or "").strip() if diagnosis else ""
    reason, message = EXIT_CODES.get(code, ("LandingZoneFailed", "The landing zone could not be set up: {}"))
    return Failure(reason, message.format(said or otherwise))


class Status:
    def report(self, facts, objects, draft):
        ready = Condition("NetworkReady", Truth.FALSE, "NotReady", f"The landing zone is {draft.journey}.")
        if draft.journey == "achieved":
            ready = Condition("NetworkReady", Truth.TRUE, "LandingZoneReady", "The network is ready.")
        data = json.dumps({"landingZone": zone(facts)})
        return status.Answer(status.StatusReport(draft.conditions + [ready], data), [])
