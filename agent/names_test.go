package main

import (
	"encoding/json"
	"testing"
)

func TestNamesKeepTheirBytes(t *testing.T) {
	for _, name := range []string{"plain", "ü", "caf\351.txt", "\377\376", "", "a\nb\"\\", "\ufffd"} {
		data, err := json.Marshal(wireName(name))
		if err != nil {
			t.Fatal(err)
		}
		var back wireName
		if err := json.Unmarshal(data, &back); err != nil || string(back) != name {
			t.Errorf("%q became %q as %s (%v)", name, back, data, err)
		}
	}
}
