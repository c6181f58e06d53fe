module landing-zone

go 1.25

require github.com/openshift-hyperfleet/berth/guest-sdk/go v0.1.0

replace github.com/openshift-hyperfleet/berth/guest-sdk/go => ../../../guest-sdk/go
