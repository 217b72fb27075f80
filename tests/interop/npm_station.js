// A charge point of the npm package `ocpp-rpc` in strict mode, driven line by line over stdin and stdout.
//
//   node npm_station.js ENDPOINT IDENTITY PROTOCOL
//
// in:  {"n": 1, "call": "Heartbeat", "params": {}}   {"close": true}
// out: {"connected": "ocpp1.6"}   {"n": 1, "answer": {...}} or {"n": 1, "error": "Code", "message": "..."}
//      {"command": "Reset", "params": {...}}   {"broken": "what the package found wrong with a message of the gateway"}
'use strict';

const readline = require('node:readline');
const { RPCClient, createRPCError } = require('ocpp-rpc');

const [endpoint, identity, protocol] = process.argv.slice(2);
const say = (fields) => process.stdout.write(JSON.stringify(fields) + '\n');
const accepted = () => ({ status: 'Accepted' });

const answers = {
    RemoteStartTransaction: accepted,
    RemoteStopTransaction: accepted,
    RequestStartTransaction: () => ({ status: 'Accepted', transactionId: 'TX-NPM' }),
    RequestStopTransaction: accepted,
    ChangeConfiguration: accepted,
    GetConfiguration: ({ key }) => ({
        configurationKey: (key || []).map((name) => ({ key: name, readonly: false, value: '300' })),
    }),
    GetVariables: ({ getVariableData }) => ({
        getVariableResult: getVariableData.map(({ component, variable }) => ({
            component, variable, attributeStatus: 'Accepted', attributeValue: '300',
        })),
    }),
    SetVariables: ({ setVariableData }) => ({
        setVariableResult: setVariableData.map(({ component, variable }) => ({
            component, variable, attributeStatus: 'Accepted',
        })),
    }),
    Reset: accepted,
    TriggerMessage: accepted,
    UnlockConnector: () => ({ status: 'Unlocked' }),
    ChangeAvailability: accepted,
    ClearCache: accepted,
    DataTransfer: ({ data }) => ({ status: 'Accepted', data }),
    SetChargingProfile: accepted,
    GetBaseReport: accepted,
};

const client = new RPCClient({
    endpoint, identity, protocols: [protocol], strictMode: true, reconnect: false, callTimeoutMs: 10000,
});
client.on('strictValidationFailure', ({ error, message }) => say({ broken: `${error.message}: ${JSON.stringify(message)}` }));
client.on('badMessage', ({ error }) => say({ broken: error.message }));
client.on('close', ({ code, reason }) => say({ closed: code, reason: String(reason) }));
client.handle(({ method, params }) => {
    say({ command: method, params });
    if (!answers[method]) {
        throw createRPCError('NotImplemented', `no handler for ${method}`);
    }
    return answers[method](params);
});

async function main() {
    await client.connect();
    say({ connected: client.protocol });
    for await (const line of readline.createInterface({ input: process.stdin })) {
        const { n, call, params, close } = JSON.parse(line);
        if (close) {
            break;
        }
        // Not awaited: the test says when it wants to wait.
        client.call(call, params).then(
            (answer) => say({ n, answer }),
            (error) => say({ n, error: error.rpcErrorCode || error.name, message: error.message }),
        );
    }
    await client.close();
    process.stdin.destroy(); // or its open pipe would keep us alive
}

main().catch((error) => {
    say({ broken: String(error) });
    process.exitCode = 1;
});
