module github.com/openshift-hyperfleet/berth/guest-sdk/go

go 1.25
