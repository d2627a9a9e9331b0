export { SignClient } from "@walletconnect/sign-client";
export { encode } from "uqr";
