package main

import (
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// lineEvery is the time between lines of progress where there is no terminal.
const lineEvery = 5 * time.Second

// progress returns a function to call with the work done so far. It draws a bar
// if w is a terminal, and elsewhere prints a line every few seconds.
func progress(w io.Writer, what string) func(done, total int) {
	f, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return progressLines(w, what, lineEvery)
	}
	var bar *progressbar.ProgressBar
	return func(done, total int) {
		if bar == nil {
			bar = progressbar.NewOptions(total, progressbar.OptionSetWriter(w), progressbar.OptionSetDescription(what),
				progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionShowCount(), progressbar.OptionShowIts(),
				progressbar.OptionSetPredictTime(true), progressbar.OptionClearOnFinish())
		}
		_ = bar.Set(done) // a bar that cannot be drawn is no reason to stop
	}
}

// progressLines prints how much is done, at most so often: what ends before
// prints nothing.
func progressLines(w io.Writer, what string, every time.Duration) func(done, total int) {
	start := time.Now()
	last := start
	var printing sync.Mutex
	return func(done, total int) {
		printing.Lock()
		defer printing.Unlock()
		if time.Since(last) < every || done >= total {
			return
		}
		last = time.Now()
		fmt.Fprintf(w, "%s: %d of %d after %.0f s\n", what, done, total, last.Sub(start).Seconds())
	}
}

// sampleProgress adapts progress to chains that report what they did since the
// last time, side by side.
func sampleProgress(w io.Writer, steps int) func(int) {
	var done atomic.Int64
	show := progress(w, "sampling")
	var drawing sync.Mutex
	return func(n int) {
		at := int(done.Add(int64(n)))
		drawing.Lock()
		defer drawing.Unlock()
		show(min(at, steps), steps)
	}
}
