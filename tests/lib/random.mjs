// Numbers that look random and come again: the seed is told, and GATEHOUSE_SEED sets it.
export class Random {
  constructor(seed = Number(process.env.GATEHOUSE_SEED) || Date.now() % 2 ** 31) {
    this.seed = seed;
    this.state = seed >>> 0;
    console.log(`GATEHOUSE_SEED=${seed}`);
  }

  // 0 to n - 1
  below(n) {
    // splitmix32
    this.state = (this.state + 0x9e3779b9) >>> 0;
    let z = this.state;
    z = Math.imul(z ^ (z >>> 16), 0x85ebca6b);
    z = Math.imul(z ^ (z >>> 13), 0xc2b2ae35);
    return ((z ^ (z >>> 16)) >>> 0) % n;
  }

  pick(list) {
    return list[this.below(list.length)];
  }

  bytes(n) {
    return Buffer.from(Array.from({ length: n }, () => this.below(256)));
  }

  // `bytes` with a few mistakes made in them, parts of `others` among those.
  mutate(bytes, others) {
    for (let i = this.below(4); i >= 0; i--) {
      const at = this.below(bytes.length + 1);
      const to = Math.min(at + this.below(9), bytes.length);
      const [head, cut, tail] = [bytes.subarray(0, at), bytes.subarray(at, to), bytes.subarray(to)];
      const other = Buffer.from(this.pick(others));
      switch (this.below(8)) {
        case 0: // flip a bit
          if (at < bytes.length) {
            bytes = Buffer.from(bytes);
            bytes[at] ^= 1 << this.below(8);
          }
          break;
        case 1: // leave some out
          bytes = Buffer.concat([head, tail]);
          break;
        case 2: // repeat some
          bytes = Buffer.concat([head, ...Array(1 + this.below(20)).fill(cut), tail]);
          break;
        case 3: // stop
          bytes = head;
          break;
        case 4: // another's end
          bytes = Buffer.concat([head, other.subarray(this.below(other.length + 1))]);
          break;
        case 5: // another in between
          bytes = Buffer.concat([head, other, tail]);
          break;
        case 6: // noise
          bytes = Buffer.concat([head, this.bytes(this.below(40)), tail]);
          break;
        case 7: // the same again
          bytes = Buffer.concat([bytes, bytes]);
          break;
      }
      if (bytes.length > 100_000) bytes = bytes.subarray(0, 100_000);
    }
    return bytes;
  }
}
