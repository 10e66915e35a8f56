#!/usr/bin/env node
'use strict';
const path = require('node:path');
const { pathToFileURL } = require('node:url');

// File I/O and bcrypt share libuv's pool; four threads (the default) let a handful of fsyncs hold up every read. It must
// be set before the pool is first used, hence here, before any import of a module.
process.env.UV_THREADPOOL_SIZE ??= '16';

const { ensureInstalled, ensureBuilt } = require('./ensure-built.cjs');
ensureInstalled();
ensureBuilt();
void import(pathToFileURL(path.join(__dirname, '..', 'dist', 'main.js')).href);
