/** The time, in seconds since 1970, every five seconds: what is said to be some time ago must not stand still. */
export const clock = $state({ now: Date.now() / 1000 });
setInterval(() => { clock.now = Date.now() / 1000; }, 5000);
