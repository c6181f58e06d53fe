// Command landing-zone is the reference adapter in Go: it checks whether a landing zone can
// be set up for a cluster, and sets it up by a Job.
//
// It decides only; the host reads, creates and reports.
package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/openshift-hyperfleet/berth/guest-sdk/go/log"
	"github.com/openshift-hyperfleet/berth/guest-sdk/go/postconditions"
	"github.com/openshift-hyperfleet/berth/guest-sdk/go/preconditions"
	"github.com/openshift-hyperfleet/berth/guest-sdk/go/resources"
	"github.com/openshift-hyperfleet/berth/guest-sdk/go/status"
	"github.com/openshift-hyperfleet/berth/guest-sdk/go/types"
	wit "github.com/openshift-hyperfleet/berth/guest-sdk/go/wit/types"
)

func init() {
	preconditions.Implement(decide)
	resources.Implement(plan)
	postconditions.Implement(verify)
	status.Implement(report)
}

func main() {}

type config struct {
	Provider string   `json:"provider"`
	Regions  []string `json:"regions"`
	Image    string   `json:"image"`
}

type spec struct {
	Provider       string            `json:"provider"`
	Region         string            `json:"region"`
	NetworkCidr    string            `json:"networkCidr"`
	JobAnnotations map[string]string `json:"jobAnnotations"`
}

// read unpacks what every phase needs: the configuration and the cluster's spec.
func read(facts types.Facts) (settings config, cluster spec, failure *types.Failure) {
	var document struct {
		Spec spec `json:"spec"`
	}
	if err := json.Unmarshal([]byte(facts.Config), &settings); err != nil {
		return settings, cluster, &types.Failure{Reason: "ConfigInvalid", Message: err.Error()}
	}
	if err := json.Unmarshal([]byte(facts.Subject.Document), &document); err != nil {
		return settings, cluster, &types.Failure{Reason: "SpecInvalid", Message: err.Error()}
	}
	return settings, document.Spec, nil
}

func decide(facts types.Facts) (preconditions.Answer, *types.Failure) {
	settings, cluster, failure := read(facts)
	if failure != nil {
		return preconditions.Answer{}, failure
	}
	verdict := preconditions.MakeVerdictProceed()
	if cluster.Provider != settings.Provider {
		verdict = preconditions.MakeVerdictNotApplicable(fmt.Sprintf(
			"the provider is %s, and landing zones are made for %s only", cluster.Provider, settings.Provider))
	} else if !slices.Contains(settings.Regions, cluster.Region) {
		verdict = preconditions.MakeVerdictWait(preconditions.Waiting{
			Unmet: []preconditions.Unmet{{Name: "region", Message: fmt.Sprintf(
				"region %s is not served; served are %s", cluster.Region, strings.Join(settings.Regions, ", "))}},
			RecheckAfterMs: wit.None[uint32](),
		})
	}
	return preconditions.Answer{Verdict: verdict, Carry: "null"}, nil
}

func plan(facts types.Facts, _ []types.Object) (resources.Plan, *types.Failure) {
	// An empty plan lets the host delete everything: that is all a deletion needs.
	if facts.Subject.Deleting {
		return resources.Plan{Carry: "null"}, nil
	}
	settings, cluster, failure := read(facts)
	if failure != nil {
		return resources.Plan{}, failure
	}
	log.Emit(log.Level_Info, "planning the landing zone of "+facts.Subject.Id)
	name := zone(facts)
	network := cluster.NetworkCidr
	if network == "" {
		network = "10.0.0.0/16"
	}
	type object = map[string]any
	parameters := object{
		"apiVersion": "v1", "kind": "ConfigMap", "metadata": object{"name": name},
		"data": object{"region": cluster.Region, "networkCidr": network},
	}
	job := object{
		"apiVersion": "batch/v1", "kind": "Job",
		"metadata": object{"name": name, "annotations": cluster.JobAnnotations},
		"spec": object{"backoffLimit": 2, "template": object{
			"metadata": object{"annotations": cluster.JobAnnotations},
			"spec": object{"restartPolicy": "Never", "containers": []object{{
				"name": "landing-zone", "image": settings.Image,
				"args":    []string{"--cluster=" + facts.Subject.Id, "--region=" + cluster.Region, "--network-cidr=" + network},
				"envFrom": []object{{"configMapRef": object{"name": name}}},
			}}},
		}},
	}
	return resources.Plan{
		Operations: []resources.Operation{
			resources.MakeOperationApply(resources.Manifest{Name: "parameters", Document: text(parameters)}),
			resources.MakeOperationApply(resources.Manifest{Name: "job", Document: text(job), After: []string{"parameters"}}),
		},
		Carry: "null",
	}, nil
}

func verify(_ types.Facts, objects []types.Object) (postconditions.Answer, *types.Failure) {
	outcome := postconditions.MakeOutcomePending(postconditions.Progress{
		Message: "the landing zone is being set up", RecheckAfterMs: wit.None[uint32](),
	})
	for _, observed := range objects {
		if observed.Name != "job" {
			continue
		}
		var job struct {
			Status struct {
				Conditions []struct{ Type, Status, Message string } `json:"conditions"`
			} `json:"status"`
		}
		if err := json.Unmarshal([]byte(observed.Document), &job); err != nil {
			return postconditions.Answer{}, &types.Failure{Reason: "DocumentInvalid", Message: err.Error()}
		}
		for _, condition := range job.Status.Conditions {
			switch {
			case condition.Status != "True":
			case condition.Type == "Complete":
				outcome = postconditions.MakeOutcomeAchieved()
			case condition.Type == "Failed":
				outcome = postconditions.MakeOutcomeFailed(explain(observed.Diagnosis, condition.Message))
			}
		}
	}
	return postconditions.Answer{Outcome: outcome, Carry: "null"}, nil
}

// explain says what the Job's exit code means to whoever owns the cluster.
func explain(diagnosis wit.Option[types.Diagnosis], otherwise string) types.Failure {
	said, code := otherwise, int32(0)
	if diagnosis.IsSome() {
		found := diagnosis.Some()
		code = found.ExitCode.SomeOr(0)
		if text := strings.TrimSpace(found.TerminationMessage.SomeOr("")); text != "" {
			said = text
		}
	}
	switch code {
	case 10:
		return types.Failure{Reason: "CredentialsRejected", Message: "The cloud credentials were rejected: " + said + ". Renew them and change the cluster to try again."}
	case 11:
		return types.Failure{Reason: "RegionNotEnabled", Message: "The region is not enabled for the account: " + said + ". Enable it, or choose another region."}
	case 12:
		return types.Failure{Reason: "NetworkRangeOverlaps", Message: "The network range overlaps another one: " + said + ". Choose another `networkCidr`."}
	default:
		return types.Failure{Reason: "LandingZoneFailed", Message: "The landing zone could not be set up: " + said}
	}
}

func report(facts types.Facts, _ []types.Object, draft status.Draft) (status.Answer, *types.Failure) {
	ready := types.Condition{
		TypeName: "NetworkReady", Status: types.Truth_False, Reason: "NotReady",
		Message: "The landing zone is " + draft.Journey + ".",
	}
	if draft.Journey == "achieved" {
		ready.Status, ready.Reason, ready.Message = types.Truth_True, "LandingZoneReady", "The network is ready."
	}
	return status.Answer{Report: wit.Some(status.StatusReport{
		Conditions: append(draft.Conditions, ready),
		Data:       text(map[string]string{"landingZone": zone(facts)}),
	})}, nil
}

// zone is the landing zone's name, which its objects have too.
func zone(facts types.Facts) string { return "lz-" + strings.ToLower(facts.Subject.Id) }

// text writes a document. Maps with text keys always have a form in JSON.
func text(document any) string {
	written, _ := json.Marshal(document)
	return string(written)
}
