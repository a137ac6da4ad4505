package web

import (
	"encoding/json"
	"sync"
)

// A hub passes on what changed to every page that listens. A page that is slow
// misses messages rather than holding up the others: it asks for the state anew
// at the next one.
type hub struct {
	mu    sync.Mutex
	pages map[chan []byte]bool
}

func newHub() *hub { return &hub{pages: map[chan []byte]bool{}} }

// join returns the messages from now on, and what ends them.
func (h *hub) join() (messages <-chan []byte, leave func()) {
	c := make(chan []byte, 16)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.pages[c] = true
	return c, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		delete(h.pages, c)
	}
}

// maxNamed is the number of runs from which on a message names none of them.
const maxNamed = 100

// send tells all pages which runs changed, or why they could not be looked at.
func (h *hub) send(changed []string, err error) {
	if len(changed) == 0 && err == nil {
		return
	}
	message := struct {
		Runs  []string `json:"runs"` // none: many
		Error string   `json:"error,omitempty"`
	}{Runs: changed}
	if len(changed) > maxNamed {
		message.Runs = nil
	}
	if err != nil {
		message.Error = err.Error()
	}
	text, err := json.Marshal(message)
	if err != nil {
		panic(err) // strings always marshal
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for c := range h.pages {
		select {
		case c <- text:
		default:
		}
	}
}
