package main

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

// TestProgressLines: off a terminal, slow work says how far it is and quick work
// says nothing.
func TestProgressLines(t *testing.T) {
	var quick, slow bytes.Buffer
	show := progress(&quick, "measuring")
	for i := range 10 {
		show(i+1, 10)
	}
	if quick.Len() > 0 {
		t.Errorf("quick work printed %q", quick.String())
	}
	show = progressLines(&slow, "measuring", time.Nanosecond)
	show(3, 10)
	show(10, 10)
	if got := slow.String(); !strings.HasPrefix(got, "measuring: 3 of 10 after ") || strings.Count(got, "\n") != 1 {
		t.Errorf("printed %q", got)
	}
}
