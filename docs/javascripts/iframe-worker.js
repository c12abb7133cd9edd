// Browsers start no worker for a page that was opened from the file system, and the search of the
// site is one. There its script runs in a hidden frame, with the same messages.
if (location.protocol === "file:") {
  window.Worker = class {
    constructor(url) {
      this.waiting = [];
      this.frame = document.createElement("iframe");
      this.frame.hidden = true;
      document.body.append(this.frame);
      const inner = this.frame.contentWindow;
      inner.postMessage = (data) => setTimeout(() => this.onmessage?.({ data }));
      const script = inner.document.createElement("script");
      script.src = new URL(url, location.href);
      script.onload = () => this.deliver();
      script.onerror = (error) => this.onerror?.(error);
      inner.document.head.append(script);
    }
    postMessage(data) {
      this.waiting?.push(data) ?? this.send(data);
    }
    deliver() {
      const messages = this.waiting;
      this.waiting = null;
      messages.forEach((data) => this.send(data));
    }
    send(data) {
      const inner = this.frame.contentWindow;
      setTimeout(() => inner.dispatchEvent(new inner.MessageEvent("message", { data })));
    }
    terminate() {
      this.frame.remove();
    }
  };
}
