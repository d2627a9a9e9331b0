// The bundle of WalletConnect's client and a QR generator, which `make walletconnect` builds beside these modules.
export const SignClient: any;
export function encode(text: string, options: { border: number }): { size: number; data: boolean[][] };
