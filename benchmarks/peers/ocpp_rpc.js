// The npm package `ocpp-rpc` in strict mode as a central system: every message is validated, then answered at once.
// node ocpp_rpc.js PORT TLS_PORT CHAIN KEY, with NODE_PATH naming the folder of the packages.
const fs = require('fs');
const https = require('https');
const { RPCServer } = require('ocpp-rpc');

const [port, tlsPort, chain, key] = process.argv.slice(2);
const server = new RPCServer({ protocols: ['ocpp1.6'], strictMode: true });

server.auth((accept) => accept());
server.on('client', (client) => {
  client.handle('BootNotification', () => ({ status: 'Accepted', interval: 300, currentTime: new Date().toISOString() }));
  client.handle('Heartbeat', () => ({ currentTime: new Date().toISOString() }));
  client.handle('MeterValues', () => ({}));
});

const secure = https.createServer({ cert: fs.readFileSync(chain), key: fs.readFileSync(key) });
secure.on('upgrade', server.handleUpgrade);
secure.listen(Number(tlsPort), '127.0.0.1');
server.listen(Number(port), '127.0.0.1');
