package nn

import (
	"os"
	"slices"
	"strings"
	"testing"
)

// docs/model.md describes every layer type with its fields, and its example is
// a network.
func TestModelPage(t *testing.T) {
	data, err := os.ReadFile("../docs/model.md")
	if err != nil {
		t.Fatal(err)
	}
	page := string(data)
	_, example, _ := strings.Cut(page, "```json\n")
	example, _, _ = strings.Cut(example, "```")
	if _, err := ParseSpec([]byte(example)); err != nil {
		t.Error(err)
	}
	for _, kind := range LayerTypes() {
		_, line, found := strings.Cut(page, "| `"+kind+"` |")
		line, _, _ = strings.Cut(line, "|")
		if !found {
			t.Errorf("layer type %s is not described", kind)
		}
		for _, field := range slices.Concat(layerFields[kind][0], layerFields[kind][1]) {
			if !strings.Contains(line, "`"+field+"`") {
				t.Errorf("layer type %s: field %s is not described", kind, field)
			}
		}
	}
	for _, name := range activationNames {
		if !strings.Contains(page, "`"+name+"`") {
			t.Errorf("activation %s is not described", name)
		}
	}
}
