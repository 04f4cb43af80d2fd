package main

import (
	"encoding/json"
	"unicode/utf8"
)

// wireName is a file's name or a link's target in JSON: text where it is UTF-8, else {"b64": its bytes}. JSON has no
// other way to carry bytes; encoding/json would put U+FFFD in their place and so name another file.
type wireName string

type wireBytes struct {
	B64 []byte `json:"b64"`
}

func (n wireName) MarshalJSON() ([]byte, error) {
	if utf8.ValidString(string(n)) {
		return json.Marshal(string(n))
	}
	return json.Marshal(wireBytes{[]byte(n)})
}

// written is how many bytes the name takes: JSON has six for some.
func (n wireName) written() int {
	text, _ := json.Marshal(n)
	return len(text)
}

func (n *wireName) UnmarshalJSON(data []byte) error {
	var text string
	if json.Unmarshal(data, &text) == nil {
		*n = wireName(text)
		return nil
	}
	var raw wireBytes
	if err := json.Unmarshal(data, &raw); err != nil {
		return err
	}
	*n = wireName(raw.B64)
	return nil
}
