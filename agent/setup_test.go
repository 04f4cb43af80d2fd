package main

import (
	"encoding/json"
	"maps"
	"strings"
	"testing"
)

func identityOf(change func(map[string]any)) *strings.Reader {
	request := map[string]any{"hostname": "w-1", "machine_id": strings.Repeat("0a", 16), "entropy": make([]byte, minEntropy)}
	change(request)
	body, _ := json.Marshal(request)
	return strings.NewReader(string(body))
}

func TestAMachineIsSetUpOnceAndThenIdentifiedAsOftenAsItIsRestored(t *testing.T) {
	a, h := testAgent(t)
	same := func(map[string]any) {}
	if r := call(h, "POST", "/v1/identify", identityOf(same)); r.Code != 409 {
		t.Errorf("identified before it was set up: %d %s", r.Code, r.Body)
	}
	first := func(m map[string]any) { m["lower"], m["env"] = a.seed, map[string]string{"A": "1", "LANG": "de_DE"} }
	if r := call(h, "POST", "/v1/setup", identityOf(first)); r.Code != 200 {
		t.Fatal(r.Body)
	}
	if env := a.processes.env; env["A"] != "1" || env["LANG"] != "de_DE" || env["HOSTNAME"] != "w-1" || env["HOME"] != "/root" {
		t.Errorf("%v", env)
	}
	if r := call(h, "POST", "/v1/setup", identityOf(same)); r.Code != 409 {
		t.Errorf("set up twice: %d %s", r.Code, r.Body)
	}
	second := func(m map[string]any) { m["hostname"] = "w-2" }
	if r := call(h, "POST", "/v1/identify", identityOf(second)); r.Code != 200 {
		t.Fatal(r.Body)
	}
	if env := a.processes.env; env["A"] != "" || env["LANG"] != defaultEnvironment["LANG"] || env["HOSTNAME"] != "w-2" {
		t.Errorf("what its parent was given is still there: %v", env)
	}
}

func TestAnIdentityThatCannotBeIsRefusedAndChangesNothing(t *testing.T) {
	a, h := testAgent(t)
	before := maps.Clone(a.processes.env)
	many := map[string]string{}
	for i := range maxEnvironment + 1 {
		many[strings.Repeat("X", i+1)] = ""
	}
	for name, change := range map[string]func(map[string]any){
		"a host name with a dot":      func(m map[string]any) { m["hostname"] = "a.b" },
		"a host name that is a line":  func(m map[string]any) { m["hostname"] = "a\nb" },
		"a host name that is long":    func(m map[string]any) { m["hostname"] = strings.Repeat("a", 64) },
		"a machine id in capitals":    func(m map[string]any) { m["machine_id"] = strings.Repeat("0A", 16) },
		"little entropy":              func(m map[string]any) { m["entropy"] = make([]byte, minEntropy-1) },
		"too much entropy":            func(m map[string]any) { m["entropy"] = make([]byte, maxEntropy+1) },
		"many variables":              func(m map[string]any) { m["env"] = many },
		"another seed":                func(m map[string]any) { m["lower"] = "/etc" },
		"less memory than none":       func(m map[string]any) { m["mem_mib"] = -1 },
		"more CPUs than there can be": func(m map[string]any) { m["vcpu_count"] = maxShares + 1 },
		"a disk without an end":       func(m map[string]any) { m["disk_gib"] = maxMemMiB + 1 },
		"a word that nobody knows":    func(m map[string]any) { m["motd"] = "hello" },
	} {
		if r := call(h, "POST", "/v1/setup", identityOf(change)); r.Code != 400 {
			t.Errorf("%s: %d %s", name, r.Code, r.Body)
		}
	}
	if a.configured.Load() || !maps.Equal(a.processes.env, before) {
		t.Error("a refused request changed something")
	}
}
